from edged.store.damage import MAX_DAMAGED, Damage

PLACE = ("site-1", "pods", "default", "web-0", "body")


def test_a_place_is_noted_once_until_it_is_good_again() -> None:
    damage = Damage()
    assert (damage.places, damage.clock(PLACE), damage.news()) == (frozenset(), None, False)
    damage.note(PLACE, 7)
    damage.note(PLACE, 9)
    assert (damage.places, damage.clock(PLACE), damage.noticed) == ({PLACE}, 7, 1)
    assert [damage.news(), damage.news()] == [True, False]
    damage.forget(PLACE)
    damage.forget(PLACE)
    assert [damage.news(), damage.news()] == [True, False]
    assert (damage.places, damage.noticed) == (frozenset(), 1)
    damage.note(PLACE, 9)
    assert (damage.clock(PLACE), damage.noticed) == (9, 2)


def test_there_is_a_limit() -> None:
    damage = Damage()
    for number in range(MAX_DAMAGED + 5):
        damage.note((*PLACE[:3], f"web-{number}", "body"), 0)
    assert len(damage.places) == MAX_DAMAGED
