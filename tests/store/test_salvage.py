import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.store.keyfile import FixedKey
from edged.store.origins import Origins
from edged.store.salvage import Salvaged, readable, salvage
from edged.store.schema import migrate
from edged.store.table import Table
from edged.store.vault import Vault
from edged.wire.sync import BODY, Register, signed_bytes

OLD, OTHER = "site/gw-a:old", "site/gw-b:1"
NEW = Origins("gw-a:new", "site", 1)
VAULT = Vault(FixedKey(), os.urandom)
COUNT = 400


def sign(data: bytes) -> bytes:
    return b"signed " + data[:8]


def register(number: int, origin: str = OLD, resource: str = "widgets") -> Register:
    value = None if number % 50 == 0 else b'{"number":%d,"pad":"%s"}' % (number, b"x" * (number * 37 % 3000))
    return Register(resource, "default", f"{resource}-{number}", BODY, f"u{number}", origin, number, number + 1, value, b"old")


def made(path: Path) -> Path:
    """A store with COUNT registers of its own, of another node, and a secret."""
    with closing(apsw.Connection(str(path))) as connection:
        migrate(connection)
        table = Table(connection, "site", vault=VAULT)
        with connection:
            for number in range(1, COUNT + 1):
                table.replace(register(number, OLD if number % 2 else OTHER), number)
            table.replace(register(COUNT + 1, OLD, "secrets"), COUNT + 1)
            table.hold(OLD, COUNT + 1)
            table.hold(OTHER, COUNT)
            table.name("gw-a:old", 3)
    return path


def taken(path: Path) -> tuple[Salvaged, Table]:
    fresh = apsw.Connection(":memory:")
    migrate(fresh)
    table = Table(fresh, "site", vault=VAULT)
    with fresh:
        return salvage(path, table, VAULT, NEW, sign), table


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    yield made(tmp_path_factory.mktemp("salvage") / "store.db").read_bytes()


def test_what_is_its_own_is_written_again_and_the_rest_stands_as_it_was(tmp_path: Path) -> None:
    done, table = taken(made(tmp_path / "store.db"))
    assert done == Salvaged(COUNT // 2 + 1, COUNT // 2, 0)
    assert "201 registers of its own and 200 of others taken over, 0 seen to be damaged" in str(done)
    assert table.held() == {NEW.durable: COUNT // 2 + 1}
    assert table.begin("gw-a:newer") == ("gw-a:new", 4)
    for number in (1, 49, 51):
        before, after = register(number), table.register(register(number).place)
        assert after is not None
        now = after.register
        assert (now.value, now.clock, now.uid, now.origin) == (before.value, before.clock, before.uid, NEW.durable)
        assert now.signature == sign(signed_bytes(now))
    other = table.register(register(2, OTHER).place)
    assert other is not None
    assert other.register == register(2, OTHER)
    tombstone = table.register(register(50, OTHER).place)
    assert tombstone is not None
    assert tombstone.register.value is None
    secret = table.register(register(COUNT + 1, OLD, "secrets").place)
    assert secret is not None
    assert secret.register.value == register(COUNT + 1).value
    assert table.delta(NEW.durable, 0).registers[0].seq == 1
    assert table.delta(OTHER, 0).registers == []  # nobody says that all of it is here


def test_registers_of_another_group_stay_the_others(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(apsw.Connection(str(path))) as connection:
        migrate(connection)
        Table(connection, "site").replace(register(1, "annex/gw-a:old"), 1)
        Table(connection, "site").replace(register(2, "*/site/gw-a:old", "devicemodels.devices.kubeedge.io"), 2)
        Table(connection, "site").replace(register(3, "*/annex/gw-a:old", "widgets.example.com"), 3)
    done, table = taken(path)
    assert done == Salvaged(1, 2, 0)
    assert table.held() == {NEW.fleet: 1}


@pytest.mark.parametrize("page", [0, 1, 2, 5, 60, 150])
def test_a_page_of_noise_costs_what_was_on_it(page: int, whole: bytes, tmp_path: Path) -> None:
    data = bytearray(whole)
    assert len(data) > 200 * 4096
    data[page * 4096 : (page + 1) * 4096] = Random(page).randbytes(4096)
    (tmp_path / "store.db").write_bytes(data)
    done, _ = taken(tmp_path / "store.db")
    assert done.own + done.others + done.lost <= COUNT + 1
    assert done.own + done.others >= COUNT - 50


@given(st.randoms(use_true_random=False), st.sampled_from(["flip", "cut", "noise", "zeros"]))
def test_any_damage_ends_in_fewer_registers_and_nothing_else(random: Random, how: str) -> None:
    path = WHOLE_DIRECTORY / "fuzzed.db"
    data = bytearray(WHOLE)
    if how == "cut":
        del data[random.randrange(len(data)) :]
    elif how == "flip":
        for _ in range(random.randrange(1, 50)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    else:
        at, size = random.randrange(len(data)), random.randrange(1, 40_000)
        data[at : at + size] = bytes(size) if how == "zeros" else random.randbytes(size)
    path.write_bytes(data)
    done, table = taken(path)
    for pair in table.pairs("widgets", None):
        for placed in filter(None, pair[1]):
            assert placed.register.value == register(int(placed.register.name.partition("-")[2])).value
    assert done.own + done.others <= COUNT + 1


@pytest.fixture(scope="module", autouse=True)
def _for_the_fuzzer(whole: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    global WHOLE, WHOLE_DIRECTORY
    WHOLE, WHOLE_DIRECTORY = whole, tmp_path_factory.mktemp("fuzz")


WHOLE = b""
WHOLE_DIRECTORY = Path()


def test_a_file_that_is_no_database_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no database" * 1000)
    assert list(readable(tmp_path / "a")) == []
    assert list(readable(tmp_path / "none")) == []
