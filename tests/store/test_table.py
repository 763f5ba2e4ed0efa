import apsw
import pytest

from edged.model.objects import Key
from edged.store.rows import Placed
from edged.store.schema import prepare
from edged.store.table import Table
from edged.wire.sync import BODY, MAX_DELTA, MAX_DELTA_BYTES, STATUS, Register

POD = Key("pods", "default", "web-0")


@pytest.fixture
def table() -> Table:
    connection = apsw.Connection(":memory:")
    prepare(connection)
    return Table(connection)


def register(seq: int, key: Key = POD, part: str = BODY, value: bytes | None = b"{}", uid: str = "u1") -> Register:
    return Register(*key, part, uid, "/gw-a:1", seq, seq, value, b"signed")


def standing(table: Table, part: str = BODY) -> Register | None:
    placed = table.register(("", *POD, part))
    return None if placed is None else placed.register


def test_a_register_comes_back_as_it_was(table: Table) -> None:
    assert standing(table) is None
    for one in (register(1), register(2, value=None)):
        table.replace(one, one.seq)
        assert standing(table) == one


def test_a_key_is_a_pair_of_registers(table: Table) -> None:
    body, status = register(1), register(2, part=STATUS, value=b"s")
    other = register(3, POD._replace(namespace="other"))
    for one in (status, body, other):
        table.replace(one, one.seq)
    assert table.pair(("", *POD)) == (Placed(body, 1), Placed(status, 2))
    assert table.pair(("", *POD._replace(name="none"))) == (None, None)
    both = [
        (("", *POD), (Placed(body, 1), Placed(status, 2))),
        (("", *POD._replace(namespace="other")), (Placed(other, 3), None)),
    ]
    assert list(table.pairs("pods", None)) == both
    assert list(table.pairs("pods", "default")) == both[:1]


def test_deltas_are_bounded_in_number_and_bytes(table: Table) -> None:
    for seq in range(1, MAX_DELTA + 3):
        table.replace(register(seq, POD._replace(name=str(seq))), seq)
    table.hold("/gw-a:1", MAX_DELTA + 2)
    first = table.delta("/gw-a:1", 0)
    assert (len(first.registers), first.upto) == (MAX_DELTA, MAX_DELTA)
    assert table.delta("/gw-a:1", first.upto).upto == MAX_DELTA + 2
    large = MAX_DELTA + 3
    for seq in (large, large + 1, large + 2):
        table.replace(register(seq, POD._replace(name=str(seq)), value=bytes(MAX_DELTA_BYTES * 2 // 3)), seq)
    table.hold("/gw-a:1", large + 2)
    assert [one.seq for one in table.delta("/gw-a:1", large - 1).registers] == [large]


def test_one_register_larger_than_a_delta_travels_alone(table: Table) -> None:
    table.replace(register(1, value=bytes(MAX_DELTA_BYTES + 1)), 1)
    table.replace(register(2, POD._replace(name="next")), 2)
    table.hold("/gw-a:1", 2)
    assert [one.seq for one in table.delta("/gw-a:1", 0).registers] == [1]
    assert [one.seq for one in table.delta("/gw-a:1", 1).registers] == [2]


def test_superseded_numbers_are_skipped_but_held(table: Table) -> None:
    for seq in (1, 2, 3):
        table.replace(register(seq), seq)
    table.hold("/gw-a:1", 5)
    delta = table.delta("/gw-a:1", 0)
    assert ([one.seq for one in delta.registers], delta.upto) == ([3], 5)
    assert table.held() == {"/gw-a:1": 5}
    assert table.highest() == (3, 3)


def test_the_first_id_stays_and_starts_are_counted(table: Table) -> None:
    assert [table.begin("gw-a:1"), table.begin("gw-a:2")] == [("gw-a:1", 1), ("gw-a:1", 2)]
    assert table.begin("gw-b:3") == ("gw-b:3", 1)  # the file of another node, copied here
    assert table.begin("gw-b:4") == ("gw-b:3", 2)
