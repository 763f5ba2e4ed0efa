from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.kit.ring import FULL
from edged.sync.topology import LEAVES, neighbours

names = st.integers(2, 100).map(lambda count: [f"gw-{number}" for number in range(count)])


def links(members: list[str], limited: set[str] = frozenset()) -> dict[str, frozenset[str]]:  # type: ignore[assignment]
    return {node: neighbours(node, members, members, limited) for node in members}


def steps(made: dict[str, frozenset[str]], start: str, through: set[str] | None = None) -> dict[str, int]:
    """How far each node is from `start`; only nodes of `through` pass anything on."""
    far, edge = {start: 0}, [start]
    while edge:
        node = edge.pop(0)
        if through is not None and node not in through and node != start:
            continue
        for other in made[node]:
            if other not in far:
                far[other] = far[node] + 1
                edge.append(other)
    return far


@given(names)
def test_both_ends_want_a_link_and_nobody_is_left_out(members: list[str]) -> None:
    made = links(members)
    assert all(node in made[other] for node in members for other in made[node])
    assert set(steps(made, members[0])) == set(members)


@pytest.mark.parametrize(("size", "most_links", "most_steps"), [(8, 7, 1), (9, 8, 3), (20, 6, 4), (50, 6, 6), (100, 6, 7)])
def test_few_links_and_few_steps(size: int, most_links: int, most_steps: int) -> None:
    members = [f"gw-{number}" for number in range(size)]
    made = links(members)
    assert max(map(len, made.values())) <= most_links
    assert max(max(steps(made, node).values()) for node in members) <= most_steps


def test_a_small_group_is_linked_fully() -> None:
    members = [f"gw-{number}" for number in range(FULL)]
    assert links(members) == {node: frozenset(members) - {node} for node in members}


@given(st.integers(10, 60), st.data())
def test_the_living_are_linked_whoever_is_dead(size: int, data: st.DataObject) -> None:
    known = [f"gw-{number}" for number in range(size)]
    living = data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
    made = {node: neighbours(node, known, living, ()) & set(living) for node in living}
    assert set(steps(made, living[0])) == set(living)


@given(st.integers(10, 60), st.data())
def test_two_sides_of_a_split_know_whom_to_try_across_it(size: int, data: st.DataObject) -> None:
    known = [f"gw-{number}" for number in range(size)]
    one = set(data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=size - 1, unique=True)))
    other = set(known) - one
    tried = {(a, b) for a in one for b in neighbours(a, known, one, (), other) & other}
    back = {(a, b) for b in other for a in neighbours(b, known, other, (), one) & one}
    assert {b for _, b in tried} == other  # each by somebody
    assert {a for a, _ in back} == one
    assert tried & back


def pieces(known: list[str], side: set[str], limited: set[str]) -> dict[str, frozenset[str]]:
    """Whom each node of a side of a split sees in the end: at first whoever its links before the split lead to."""
    members = {node: frozenset(known) for node in side}
    while True:
        made: dict[str, frozenset[str]] = {node: frozenset() for node in side}
        for node in side:
            missed = frozenset(known) - members[node]
            for other in neighbours(node, known, members[node], limited, missed) & side:
                made[node] |= {other}
                made[other] |= {node}
        before, members = members, {node: frozenset(steps(made, node, side - limited)) for node in side}
        if members == before:
            return members


@given(st.integers(10, 60), st.data())
def test_a_side_of_a_split_is_in_one_piece(size: int, data: st.DataObject) -> None:
    known = [f"gw-{number}" for number in range(size)]
    side = set(data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True)))
    limited = set(data.draw(st.lists(st.sampled_from(known), max_size=size // 2, unique=True))) - {min(side)}
    assert all(seen == side for seen in pieces(known, side, limited).values())


def test_a_side_of_a_split_is_in_one_piece_though_the_split_took_all_neighbours_of_some() -> None:
    known = [f"gw-{number:02}" for number in range(12)]
    side = {"gw-02", "gw-03", "gw-06", "gw-08"}
    before = {node: neighbours(node, known, known, ()) & side for node in side}
    assert set(steps(before, "gw-02")) != side
    assert all(seen == side for seen in pieces(known, side, set()).values())


@given(st.integers(9, 40), st.data())
def test_limited_nodes_pass_nothing_on_and_are_reached(size: int, data: st.DataObject) -> None:
    members = [f"gw-{number}" for number in range(size)]
    limited = set(data.draw(st.lists(st.sampled_from(members), max_size=size - 4, unique=True)))
    made = links(members, limited)
    full = set(members) - limited
    for node in limited:
        assert len(made[node]) == LEAVES
        assert made[node] <= full
    assert set(steps(made, min(full), through=full)) == set(members)


def test_the_links_of_limited_nodes_are_spread() -> None:
    members = [f"gw-{number}" for number in range(60)]
    limited = set(members[:40])
    made = links(members, limited)
    load = Counter(other for node in limited for other in made[node])
    assert max(load.values()) <= 20  # of 40
