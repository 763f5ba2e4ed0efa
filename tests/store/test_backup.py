import os
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError, NotFoundError, StorageError
from edged.store.backup import restore, snapshot
from edged.store.keyfile import KeyFile, key_path
from edged.store.replace import new_path
from edged.store.schema import prepare
from edged.store.table import Table
from edged.store.vault import Vault
from edged.wire.sync import BODY, Register

NOW = 1_786_017_600.0  # 2026-08-06T12:00:00Z
OWN, OTHER = "site/gw-a:old", "site/gw-b:1"
COUNT = 100
POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}'
SECRET = b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"data":{"password":"aHVudGVyMg=="}}'


class Site:
    """A store in a directory of its own, opened as the daemon does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "store.db"
        self.keys = KeyFile(key_path(self.path), os.urandom)

    def open(self) -> tuple[apsw.Connection, Table]:
        self.directory.mkdir(exist_ok=True)
        connection = apsw.Connection(str(self.path))
        prepare(connection)
        return connection, Table(connection, "site", vault=Vault(self.keys, os.urandom))

    def fill(self, count: int = COUNT, *, secret: bool = True) -> None:
        connection, table = self.open()
        with closing(connection), connection:
            table.begin("gw-a:old")
            for number in range(1, count + 1):
                origin = OWN if number % 2 else OTHER
                value = None if number == count else POD
                table.replace(Register("pods", "default", f"p{number}", BODY, "u", origin, number, number, value), number)
            if secret:
                table.replace(Register("secrets", "default", "db", BODY, "u", OWN, count + 1, 1, SECRET), count + 1)
            table.hold(OWN, count + 1)
            table.hold(OTHER, count)

    def backup(self, *, with_key: bool = False) -> bytes:
        target = self.directory / "backup"
        target.write_bytes(b"")
        snapshot(self.path, target, node="gw-a", now=NOW, with_key=with_key)
        return target.read_bytes()

    def restore(self, backup: bytes) -> Any:
        self.directory.mkdir(exist_ok=True)
        new_path(self.path).write_bytes(backup)
        return restore(self.path, os.urandom, NOW)

    def secret(self) -> bytes | None:
        connection, table = self.open()
        with closing(connection):
            found = table.register(("site", "secrets", "default", "db", BODY))
            return found.register.value if found is not None else None


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> Site:
    return Site(tmp_path / "two")


def test_a_backup_of_a_store_in_use(site: Site, other: Site) -> None:
    site.fill()
    writer, table = site.open()
    with closing(writer):
        with writer:  # a write that is under way is not in it, and is not held up
            table.replace(Register("pods", "default", "late", BODY, "u", OWN, COUNT + 2, 9, POD), COUNT + 2)
            backup = site.backup(with_key=True)
        assert other.restore(backup) == ("gw-a", "2026-08-06T12:00:00Z", COUNT + 1, 0, None)
    connection, restored = other.open()
    with closing(connection):
        assert restored.held() == {OWN: COUNT + 1, OTHER: COUNT}
        id_, starts = restored.begin("gw-a:new")
        assert id_.startswith("gw-a:")
        assert id_ not in ("gw-a:old", "gw-a:new")  # not the one that numbers were given out under
        assert starts == 2
        assert restored.register(("site", "pods", "default", "late", BODY)) is None
        assert restored.delta(OTHER, 0).registers[-1].value is None
        assert restored.highest()[0] == COUNT + 1
    assert other.secret() == SECRET


def test_the_key_is_left_out_unless_it_is_asked_for(site: Site, other: Site) -> None:
    site.fill()
    key = site.keys.find()
    assert key is not None
    backup = site.backup()
    assert key not in backup
    assert b"aHVudGVyMg==" not in backup
    assert other.restore(backup).locked == 1
    assert other.secret() is None
    assert site.restore(backup).locked == 0  # where the key still is
    assert site.secret() == SECRET


def test_secrets_are_sealed_again_under_the_key_that_is_there(site: Site, other: Site) -> None:
    site.fill()
    other.fill(10)
    key = other.keys.find()
    assert other.restore(site.backup(with_key=True)).locked == 0
    assert KeyFile(key_path(other.path), os.urandom).find() == key != site.keys.find()
    assert other.secret() == SECRET


def test_what_was_there_is_kept_and_its_numbers_are_not_given_out_again(site: Site) -> None:
    site.fill(secret=False)
    backup = site.backup()
    connection, table = site.open()
    with closing(connection), connection:
        table.begin("gw-a:old")
        table.begin("gw-a:old")
    restored = site.restore(backup)
    assert restored.aside == site.path.with_name("store.db.replaced-20260806T120000Z")
    assert restored.aside.exists()
    connection, table = site.open()
    with closing(connection):
        assert table.begin("gw-a:new")[1] == 4
        assert connection.pragma("integrity_check") == "ok"


def test_a_damaged_store_is_replaced(site: Site, other: Site) -> None:
    site.fill(secret=False)
    other.fill()
    other.path.write_bytes(b"noise" * 1000)
    other.path.with_name("store.db-wal").unlink(missing_ok=True)
    assert other.restore(site.backup()).registers == COUNT
    connection, table = other.open()
    with closing(connection):
        assert table.begin("gw-a:new")[1] > 1 << 20


def test_nothing_to_copy(site: Site) -> None:
    with pytest.raises(NotFoundError, match="no store is there"):
        snapshot(site.path, site.path, node="gw-a", now=NOW, with_key=False)
    site.fill(secret=False)
    with pytest.raises(NotFoundError, match="no key is there"):
        site.backup(with_key=True)
    site.path.with_name("store.db-wal").unlink(missing_ok=True)
    site.path.write_bytes(b"noise" * 1000)
    with pytest.raises(StorageError, match="is not copied: the file is damaged"):
        site.backup()


def damaged(backup: bytes, sql: str) -> bytes:
    """A backup in which somebody changed something, and SQLite finds nothing wrong with it."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.deserialize("main", backup)
        connection.pragma("writable_schema", 1)
        connection.execute(sql).fetchall()
        return connection.serialize("main")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE registers SET clock = clock + 1 WHERE name = 'p7'", "the backup is damaged: site/pods/default/p7/body"),
        ("UPDATE registers SET value = x'00' WHERE name = 'p7'", "the backup is damaged"),
        ("UPDATE registers SET name = x'ff' WHERE name = 'p7'", "the backup is damaged"),
        ("UPDATE registers SET name = CAST(x'ff' AS TEXT) WHERE name = 'p7'", "not a backup that can be used"),
        ("PRAGMA user_version = 99", "of a newer edged"),
        ("PRAGMA user_version = 0", "not a backup of a store"),
        ("DROP TABLE backup", "its tables are others"),
        ("CREATE TRIGGER t AFTER UPDATE ON registers BEGIN DELETE FROM held; END", "its tables are others"),
        ("DELETE FROM backup", "does not say whose it is"),
        ("UPDATE backup SET key = x'00'", "does not say whose it is"),
        ("UPDATE backup SET node = x'00'", "does not say whose it is"),
    ],
)
def test_what_is_no_backup_changes_nothing(site: Site, sql: str, says: str) -> None:
    site.fill(secret=False)
    backup = damaged(site.backup(), sql)
    before = site.path.read_bytes()
    with pytest.raises(InvalidError, match=says):
        site.restore(backup)
    assert site.path.read_bytes() == before
    assert not new_path(site.path).exists()


def test_a_value_that_this_version_cannot_read_comes_back_unseen(site: Site) -> None:
    connection, table = site.open()
    with closing(connection), connection:
        table.replace(Register("pods", "default", "p", BODY, "u", OWN, 1, 1, b'{"spec":5}'), 1)
    site.restore(site.backup())
    connection, table = site.open()
    with closing(connection):
        assert table.opaque() == {("site", "pods", "default", "p", BODY)}


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(tmp_path_factory.mktemp("backup") / "site")
    site.fill(30)
    site.backup(with_key=True)
    return site.directory / "backup"


@given(seed=st.integers(0, 1 << 32), how=st.sampled_from(["flip", "cut", "noise", "random", "repeat"]))
def test_any_bytes_are_restored_or_refused(backup: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, how: str) -> None:
    random = Random(seed)
    bad = bytearray(backup.read_bytes())
    if how == "flip":
        for _ in range(random.randrange(1, 20)):
            bad[random.randrange(len(bad))] ^= 1 << random.randrange(8)
    elif how == "cut":
        del bad[random.randrange(len(bad)) :]
    elif how == "repeat":
        bad += bytes(bad)
    elif how == "noise":
        at = random.randrange(len(bad))
        bad[at : at + 100] = random.randbytes(100)
    else:
        bad = bytearray(random.randbytes(random.randrange(20_000)))
    site = Site(tmp_path_factory.mktemp("fuzz"))
    try:
        restored = site.restore(bytes(bad))
    except InvalidError:
        assert not site.path.exists()
    else:
        assert restored.registers == 31
    assert list(site.directory.glob("store.db.new*")) == []
