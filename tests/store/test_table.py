import apsw
import pytest

from edged.model.objects import Key
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
    return Register(*key, part, uid, "gw-a:1", seq, seq, value, b"signed")


def test_a_register_comes_back_as_it_was(table: Table) -> None:
    assert table.register(POD, BODY) is None
    for one in (register(1), register(2, value=None)):
        table.replace(one, one.seq)
        assert table.register(POD, BODY) == one


def test_a_status_of_another_uid_or_a_tombstone_is_not_shown(table: Table) -> None:
    table.replace(register(1), 1)
    table.replace(register(2, part=STATUS, value=b"s", uid="other"), 2)
    seen = table.get(POD)
    assert seen is not None
    assert (seen.status, seen.rv) == (None, 1)
    table.replace(register(3, part=STATUS, value=b"s"), 3)
    seen = table.get(POD)
    assert seen is not None
    assert (seen.status, seen.rv) == (b"s", 3)
    table.replace(register(4, value=None), 4)
    assert table.get(POD) is None
    assert table.list("pods", None) == []


def test_deltas_are_bounded_in_number_and_bytes(table: Table) -> None:
    for seq in range(1, MAX_DELTA + 3):
        table.replace(register(seq, POD._replace(name=str(seq))), seq)
    table.hold("gw-a:1", MAX_DELTA + 2)
    first = table.delta("gw-a:1", 0)
    assert (len(first.registers), first.upto) == (MAX_DELTA, MAX_DELTA)
    assert table.delta("gw-a:1", first.upto).upto == MAX_DELTA + 2
    large = MAX_DELTA + 3
    for seq in (large, large + 1, large + 2):
        table.replace(register(seq, POD._replace(name=str(seq)), value=bytes(MAX_DELTA_BYTES * 2 // 3)), seq)
    table.hold("gw-a:1", large + 2)
    assert [one.seq for one in table.delta("gw-a:1", large - 1).registers] == [large]


def test_one_register_larger_than_a_delta_travels_alone(table: Table) -> None:
    table.replace(register(1, value=bytes(MAX_DELTA_BYTES + 1)), 1)
    table.replace(register(2, POD._replace(name="next")), 2)
    table.hold("gw-a:1", 2)
    assert [one.seq for one in table.delta("gw-a:1", 0).registers] == [1]
    assert [one.seq for one in table.delta("gw-a:1", 1).registers] == [2]


def test_superseded_numbers_are_skipped_but_held(table: Table) -> None:
    for seq in (1, 2, 3):
        table.replace(register(seq), seq)
    table.hold("gw-a:1", 5)
    delta = table.delta("gw-a:1", 0)
    assert ([one.seq for one in delta.registers], delta.upto) == ([3], 5)
    assert table.held() == {"gw-a:1": 5}
    assert table.highest() == (3, 3)


def test_the_first_origin_stays(table: Table) -> None:
    assert [table.origin("gw-a:1"), table.origin("gw-a:2")] == ["gw-a:1", "gw-a:1"]
