from edged.control.liveness import AGAIN_S, Liveness, Sight

A = frozenset({"gw-a"})
BOTH = frozenset({"gw-a", "gw-b"})
NEVER = float("inf")


def seen(**said: bool) -> dict[str, bool]:
    return {"gw-a": False, **{name.replace("_", "-"): value for name, value in said.items()}}


def test_a_node_that_was_heard_is_unseen_at_once_and_lost_when_that_is_said() -> None:
    liveness = Liveness(settle=10)
    assert liveness.look(BOTH, seen(gw_b=False), 5.0) == Sight(frozenset(), {}, NEVER)
    assert liveness.look(A, seen(gw_b=False), 6.0) == Sight(frozenset({"gw-b"}), {}, NEVER)
    assert liveness.look(A, seen(gw_b=False), 6.5).unseen == {"gw-b"}  # the disk refused to have it said
    assert liveness.look(A, seen(gw_b=True), 7.0) == Sight(frozenset(), {"gw-b": 7.0}, NEVER)
    assert liveness.look(A, seen(gw_b=True), 70.0).lost == {"gw-b": 7.0}
    assert liveness.look(BOTH, seen(gw_b=True), 71.0) == Sight(frozenset(), {}, NEVER)
    assert liveness.look(A, seen(gw_b=True), 72.0).lost == {"gw-b": 72.0}


def test_a_leader_that_has_just_started_gives_nodes_time() -> None:
    liveness = Liveness(settle=10)
    assert liveness.look(A, seen(gw_b=False), 100.0) == Sight(frozenset(), {}, 110.0)
    assert liveness.look(A, seen(gw_b=False), 110.0).unseen == {"gw-b"}
    told = Liveness(settle=10)
    assert told.look(A, seen(gw_b=True), 100.0) == Sight(frozenset(), {}, 110.0)  # the leader before it said so
    assert told.look(A, seen(gw_b=True), 110.0).lost == {"gw-b": 110.0}


def test_who_takes_over_needs_no_time_for_those_it_heard() -> None:
    liveness = Liveness(settle=10)
    liveness.hear(BOTH)
    liveness.rest()
    assert liveness.look(A, seen(gw_b=False, gw_c=False), 100.0) == Sight(frozenset({"gw-b"}), {}, 110.0)
    liveness.rest()
    assert liveness.look(A, seen(gw_b=True), 200.0).lost == {"gw-b": 200.0}  # it counts anew


def test_a_node_that_contradicts_is_left_in_peace_for_a_while() -> None:
    liveness = Liveness(settle=10)
    liveness.hear(BOTH)
    liveness.look(A, seen(gw_b=True), 0.0)
    assert liveness.look(A, seen(gw_b=False), 5.0) == Sight(frozenset(), {}, 5.0 + AGAIN_S)
    assert liveness.look(A, seen(gw_b=False), 4.0 + AGAIN_S) == Sight(frozenset(), {}, 5.0 + AGAIN_S)
    assert liveness.look(A, seen(gw_b=False), 5.0 + AGAIN_S).unseen == {"gw-b"}
    assert liveness.look(A, seen(gw_b=True), 6.0 + AGAIN_S).lost == {"gw-b": 6.0 + AGAIN_S}


def test_an_answer_that_came_before_the_next_look_is_one() -> None:
    liveness = Liveness(settle=10)
    liveness.hear(BOTH)
    assert liveness.look(A, seen(gw_b=False), 0.0).unseen == {"gw-b"}
    liveness.told({"gw-b"}, 0.0)
    assert liveness.look(A, seen(gw_b=False), 1.0) == Sight(frozenset(), {}, AGAIN_S)
    liveness.told((), 1.0)
    assert liveness.look(A, seen(gw_b=False), AGAIN_S).unseen == {"gw-b"}


def test_a_node_that_is_removed_from_the_group_is_forgotten() -> None:
    liveness = Liveness(settle=10)
    liveness.look(BOTH, seen(gw_b=False), 0.0)
    liveness.look(A, seen(), 1.0)
    assert liveness.look(A, seen(gw_b=False), 2.0) == Sight(frozenset(), {}, 10.0)
