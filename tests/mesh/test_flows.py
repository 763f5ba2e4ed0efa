from hypothesis import given
from hypothesis import strategies as st

from edged.mesh.flows import FlowTable


def test_a_flow_is_remembered_until_it_was_idle() -> None:
    table: FlowTable[str, int] = FlowTable(limit=8, idle=60)
    table.add("a", 1, 0)
    table.add("b", 2, 0)
    assert (table.idle("a", 40), table.idle("c", 40)) == (40, 0)
    assert table.get("a", 50) == 1
    assert table.idle("a", 51) == 1
    assert table.expired(59.9) == []
    assert table.expired(60) == [2]
    assert (table.get("b", 60), table.values()) == (None, [1])
    assert table.expired(110) == [1]
    assert len(table) == 0


def test_one_too_many_ends_the_one_that_was_idle_longest() -> None:
    table: FlowTable[str, int] = FlowTable(limit=2, idle=60)
    assert [table.add("a", 1, 0), table.add("b", 2, 1)] == [None, None]
    table.get("a", 2)
    assert table.add("c", 3, 3) == 2
    assert table.pop("a") == 1
    assert table.pop("a") is None
    assert table.add("d", 4, 4) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30))))
def test_it_is_bounded_and_loses_nothing(steps: list[tuple[int, int]]) -> None:
    table: FlowTable[int, int] = FlowTable(limit=5, idle=60)
    now, alive = 0, set()
    for key, wait in steps:
        now += wait
        alive -= set(table.expired(now))
        if table.get(key, now) is None:
            gone = table.add(key, key, now)
            alive = (alive | {key}) - {gone}
        assert set(table.values()) == alive
        assert len(table) <= 5
