"""Whole groups of nodes through splits, crashes, lost links and wrong clocks: see world.py for what must hold.

A failure names its seed; `./build/bench sim --seeds 1 --first SEED` replays it exactly.
"""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .laws import Spans
from .node import Happened
from .run import run
from .tales import AFTERWARDS, BRIEF, LENGTHY, LONG, OPS, PAUSES, SHORT, TALES, Op, schedule
from .world import play

SCHEDULES = 1000

ops = st.builds(
    Op, what=st.sampled_from(OPS), after=st.sampled_from(PAUSES), who=st.integers(0, 65_535), which=st.integers(0, 65_535)
)


def test_a_thousand_schedules() -> None:
    count, failed = run(0, SCHEDULES)
    assert failed == []
    assert count == SCHEDULES


@settings(max_examples=15, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
@given(size=st.integers(5, 8), steps=st.lists(ops, max_size=12), seed=st.integers(0, 1 << 32))
def test_whatever_operations_come(size: int, steps: list[Op], seed: int) -> None:
    play(size, steps, seed)


def test_twenty_nodes() -> None:
    steps = [
        Op("deploy", 1.0, 3, 0), Op("write", 0.0, 7, 1), Op("split", 1.0, 6, 2), Op("write", 0.0, 1, 3), Op("crash", 3.0, 2, 0),
        Op("write", 45.0, 5, 5), Op("heal", 1.0, 0, 0),
    ]  # fmt: skip
    play(20, steps, 1)


def test_a_node_that_was_lost_for_long_has_its_pods_elsewhere_and_ends_its_own() -> None:
    steps = [
        Op("deploy", 12.0, 0, 6),
        Op("deploy", 0.0, 0, 7),
        Op("deploy", 0.0, 0, 8),
        Op("split", 12.0, 1, 5),
        Op("heal", 60.0, 0, 0),
    ]
    world = play(5, steps, 7)
    names: dict[str, set[str]] = {}
    for each in world.happened:
        names.setdefault(each.thing.partition("-")[0], set()).add(each.what)
    assert names["quorum"] == {"begins", "replaces", "ends"}, "the majority replaced what was lost, and its old node ended it"
    assert names["never"] == {"begins"}


def test_a_device_of_a_lost_node_is_served_by_another_where_its_rule_lets_it() -> None:
    quorum, never = 0, 2  # which % 3; the first is on gw-00, the second on gw-01, as each serves one then
    steps = [
        Op("device", 8.0, 3, quorum),
        Op("device", 2.0, 3, never),
        Op("split", 8.0, 1, 5),  # these two are cut off
        Op("heal", 60.0, 0, 0),
    ]
    world = play(5, steps, 7)
    told = [(each.what, each.thing) for each in world.happened if each.what in ("connects", "moves")]
    assert told == [("connects", "quorum-1"), ("connects", "never-2"), ("moves", "quorum-1"), ("connects", "quorum-1")]


def test_two_sides_that_delete_and_are_apart_for_a_month_come_together() -> None:
    steps = [
        *(Op("write", 0.0, who, 0) for who in range(5)),
        Op("split", 8.0, 1, 5),
        *(Op("delete", 0.1, who, 0) for who in range(5)),
        Op("month", 0.0, 0, 0),
        Op("heal", 0.0, 0, 0),
    ]
    for seed in range(3):
        play(5, steps, seed)


def test_the_same_seed_is_the_same_story() -> None:
    def story(seed: int) -> list[Happened]:
        size, steps = schedule(Random(seed))
        return play(size, steps, seed).happened

    assert story(21) == story(21)


def test_spans() -> None:
    spans = Spans()
    for at, on in ((1.0, True), (2.0, True), (3.0, False), (4.0, False), (6.0, True)):
        spans.mark(at, on=on)
    assert [spans.throughout(*each) for each in ((1.0, 3.0), (2.0, 3.5), (7.0, 9.0))] == [True, False, True]
    assert [spans.within(*each) for each in ((0.0, 0.5), (2.0, 2.5), (3.5, 5.0), (5.0, 7.0))] == [False, True, False, True]
    assert [spans.longest(*each) for each in ((0.0, 5.0), (2.0, 2.5), (-1.0, 0.5), (0.0, 20.0))] == [4.0, 1.5, 0.0, 19.0]


@pytest.mark.parametrize("weights", [SHORT, LONG, AFTERWARDS])
def test_every_pause_has_its_weight(weights: Sequence[int]) -> None:
    assert len(weights) == len(PAUSES)


def test_tales_are_of_operations_that_there_are() -> None:
    told = {each.rstrip("?!").partition(":")[0] for tale in TALES if tale not in (BRIEF, LENGTHY) for each in tale.split()}
    assert told <= {"any", *OPS}
    assert {op.what for seed in range(300) for op in schedule(Random(seed))[1]} == set(OPS)
