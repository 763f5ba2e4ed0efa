import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.kit.ring import FULL, RINGS, Rings

Links = dict[str, frozenset[str]]


def links(rings: Rings, names: set[str]) -> Links:
    return {name: rings.neighbours(name) for name in names}


def steps(made: Links, start: str) -> dict[str, int]:
    """How far each name is from `start`."""
    far, edge = {start: 0}, [start]
    for name in edge:
        for other in made[name]:
            if other not in far:
                far[other] = far[name] + 1
                edge.append(other)
    return far


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80))
def test_whoever_comes_and_goes_all_are_in_one_piece_and_what_changed_is_told(events: list[tuple[bool, int]]) -> None:
    rings, names = Rings(), set[str]()
    for comes, number in events:
        name = f"site-{number}"
        before, present = links(rings, names), name in names
        changed = (rings.add if comes else rings.remove)(name)
        (names.add if comes else names.discard)(name)
        after = links(rings, names)
        assert after == links(Rings(names), names)
        assert all(one in after[other] for one in names for other in after[one])
        assert not names or set(steps(after, min(names))) == names
        assert {one for one in names | {name} if before.get(one) != after.get(one)} <= changed
        assert bool(changed) == (comes != present)
    assert len(rings) == len(names)


@pytest.mark.parametrize(("size", "most_steps"), [(FULL, 1), (FULL + 1, 3), (20, 4), (50, 5), (100, 5), (1000, 7)])
def test_few_links_and_few_steps(size: int, most_steps: int) -> None:
    names = {f"site-{number}" for number in range(size)}
    made = links(Rings(names), names)
    assert max(map(len, made.values())) <= max(2 * RINGS, FULL - 1)
    assert max(max(steps(made, name).values()) for name in sorted(names)[:100]) <= most_steps


def test_one_more_of_many_changes_little() -> None:
    rings = Rings(f"site-{number}" for number in range(1000))
    assert len(rings.add("new")) == 2 * RINGS + 1
    assert len(rings.remove("site-7")) == 2 * RINGS + 1


def test_who_is_not_there() -> None:
    rings = Rings(["a"])
    assert rings.neighbours("b") == rings.remove("b") == rings.add("a") == frozenset()
    assert rings.neighbours("a") == frozenset()


def test_behind_those_that_are_missed_the_next_is_a_neighbour() -> None:
    names = {f"site-{number}" for number in range(20)}
    rings = Rings(names)
    near = rings.neighbours("site-0")
    gone = {min(near)}
    assert near < rings.neighbours("site-0", gone) < names
    assert Rings(names - gone).neighbours("site-0") <= rings.neighbours("site-0", gone)
    assert rings.neighbours("site-0", names) == names - {"site-0"}
