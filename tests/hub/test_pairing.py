from itertools import product

from edged.hub.pairing import DEFER_S, patience, replaces


def test_the_lower_name_dials_at_once_when_there_is_a_way() -> None:
    assert patience("a", "b", present=True, addressed=False) == 0
    assert patience("a", "b", present=False, addressed=True) == 0
    assert patience("a", "b", present=False, addressed=False) is None


def test_the_higher_name_dials_late_and_only_an_address() -> None:
    assert patience("b", "a", present=True, addressed=False) is None
    assert patience("b", "a", present=False, addressed=True) == DEFER_S
    assert patience("b", "a", present=True, addressed=True) == DEFER_S


def test_of_two_links_the_same_one_stays_whichever_is_proved_first() -> None:
    for new, old in product([True, False], repeat=2):
        if new != old:
            assert replaces(new_by_lower=new, old_by_lower=old) != replaces(new_by_lower=old, old_by_lower=new)
        else:
            assert replaces(new_by_lower=new, old_by_lower=old)  # the dialler knows that the older one is dead
