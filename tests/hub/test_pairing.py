from itertools import product

from edged.hub.pairing import DEFER_S, UNUSED_S, patience, replaces, unused


def test_the_lower_name_dials_at_once_when_there_is_a_way() -> None:
    assert patience("a", "b", reachable=True, asked=False) == 0
    assert patience("a", "b", reachable=False, asked=True) is None


def test_the_higher_name_leaves_it_time_unless_somebody_waits() -> None:
    assert patience("b", "a", reachable=True, asked=False) == DEFER_S
    assert patience("b", "a", reachable=True, asked=True) == 0
    assert patience("b", "a", reachable=False, asked=True) is None


def test_a_link_goes_when_nobody_wants_it_and_nothing_used_it() -> None:
    assert unused(wanted_here=False, wanted_there=False, quiet=UNUSED_S)
    assert not unused(wanted_here=False, wanted_there=False, quiet=UNUSED_S - 1)
    assert not unused(wanted_here=True, wanted_there=False, quiet=UNUSED_S)
    assert not unused(wanted_here=False, wanted_there=True, quiet=UNUSED_S)
    assert not unused(wanted_here=False, wanted_there=None, quiet=UNUSED_S)


def test_of_two_links_the_same_one_stays_whichever_is_proved_first() -> None:
    for new, old in product([True, False], repeat=2):
        if new != old:
            assert replaces(new_by_lower=new, old_by_lower=old) != replaces(new_by_lower=old, old_by_lower=new)
        else:
            assert replaces(new_by_lower=new, old_by_lower=old)  # the dialler knows that the older one is dead
