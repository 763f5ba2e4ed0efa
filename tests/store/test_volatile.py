from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from edged.model.objects import Key
from edged.store.rows import Placed
from edged.store.volatile import MAX_BYTES, MAX_OWN, MAX_OWN_BYTES, OVERHEAD, Beat, Draft, Hold, Lay, Volatile
from edged.wire.sync import MAX_DELTA, MAX_DELTA_BYTES, STATUS, Delta, Place, Register

OWN, THEIRS = "site-1/gw-a:1~1", "site-1/gw-b:1~1"
POD = Key("widgets", "default", "web-0")
PLACE: Place = ("site-1", *POD, STATUS)


def register(seq: int, origin: str = OWN, name: str = "web-0", **changes: Any) -> Register:
    made = Register(*POD[:2], name, STATUS, "u1", origin, seq, seq, b"s")
    return msgspec.structs.replace(made, **changes)


def lay(*registers: Register) -> Iterator[Lay | Hold]:
    for each in registers:
        yield Hold(each.origin, each.seq)  # the start is known before its registers are laid
        yield Lay(Placed(each, each.seq))


def beat(by: Register) -> Beat:
    return Beat(by.place, by)


def of_place(volatile: Volatile | Draft, place: Place = PLACE) -> Register | None:
    found = volatile.best(place)
    return None if found is None else found.register


def test_the_later_of_two_stores_is_seen_and_the_other_comes_back_when_it_vanishes() -> None:
    for order in ([register(5), register(7, THEIRS)], [register(7, THEIRS), register(5)]):
        volatile = Volatile(OWN)
        volatile.apply(lay(*order))
        assert of_place(volatile) == register(7, THEIRS)
        volatile.apply([Hold("site-1/gw-b:1~2", 1)])
        assert of_place(volatile) == register(5)
        assert volatile.held() == {OWN: 5, "site-1/gw-b:1~2": 1}


def test_a_durable_register_ends_those_that_it_beats() -> None:
    volatile = Volatile(OWN)
    volatile.apply(lay(register(5), register(7, THEIRS)))
    volatile.apply([beat(register(1, "site-1/gw-c:1", clock=6))])
    assert volatile.shelf(PLACE).keys() == {"site-1/gw-b:1"}
    assert volatile.delta(OWN, 0) == Delta(OWN, 0, 5, [])
    volatile.apply([beat(register(2, "site-1/gw-c:1", clock=8))])
    assert of_place(volatile) is None
    assert volatile.held() == {OWN: 5, THEIRS: 7}


def test_a_draft_is_seen_by_nobody_until_it_is_applied() -> None:
    volatile = Volatile(OWN)
    volatile.apply(lay(register(1), register(2, name="web-1")))
    draft = Draft(volatile)
    for step in [*lay(register(3)), Hold("site-1/gw-a:1~2", 1)]:
        draft.take(step)
    assert of_place(draft) is None
    assert draft.run(OWN).origin == "site-1/gw-a:1~2"
    assert of_place(volatile) == register(1)
    draft.back_to(2)
    assert of_place(draft) == register(3)
    assert sorted(place[3] for place in draft.places(OWN)) == ["web-0", "web-1"]
    draft.take(beat(register(9, "site-1/gw-c:1", name="nothing volatile here")))
    assert len(draft.steps) == 2
    volatile.apply(draft.steps)
    assert of_place(volatile) == register(3)
    assert [each.register for each in volatile.own()] == [register(2, name="web-1"), register(3)]


def test_deltas_are_what_lacks_in_order_and_bounded() -> None:
    volatile = Volatile(OWN)
    volatile.apply(lay(*(register(seq, name=str(seq)) for seq in range(1, MAX_DELTA + 3))))
    volatile.apply(lay(register(MAX_DELTA + 3, name="1")))
    first = volatile.delta(OWN, 0)
    assert ([each.seq for each in first.registers], first.upto) == ([*range(2, MAX_DELTA + 2)], MAX_DELTA + 1)
    rest = volatile.delta(OWN, first.upto)
    assert ([each.seq for each in rest.registers], rest.upto) == ([MAX_DELTA + 2, MAX_DELTA + 3], MAX_DELTA + 3)
    assert volatile.delta(OWN, 10, limit=12).upto == 12
    assert volatile.delta(OWN, 10, limit=10) == Delta(OWN, 10, 10, [])
    large = [register(MAX_DELTA + 4 + each, name=f"l{each}", value=bytes(MAX_DELTA_BYTES * 2 // 3)) for each in range(2)]
    volatile.apply(lay(*large))
    assert volatile.delta(OWN, MAX_DELTA + 3).registers == large[:1]
    assert volatile.delta("site-1/gw-a:1~9", 3) == Delta("site-1/gw-a:1~9", 3, 3, [])


def test_a_later_start_is_heard_of_before_it_writes_anything() -> None:
    assert Volatile(OWN).held() == {}
    volatile = Volatile("site-1/gw-a:1~2")
    assert volatile.held() == {"site-1/gw-a:1~2": 1}
    assert volatile.delta("site-1/gw-a:1~2", 0) == Delta("site-1/gw-a:1~2", 0, 1, [])


@pytest.mark.parametrize("value", [b"s", bytes(MAX_OWN_BYTES // 8)])
def test_there_is_a_limit_to_ones_own(value: bytes) -> None:
    volatile, numbers = Volatile(OWN), count(1)
    while Draft(volatile).takes(OWN, ("site-1", "widgets", "", str(seq := next(numbers)), STATUS), value):
        volatile.apply(lay(register(seq, name=str(seq), namespace="", value=value)))
    assert len(volatile.own()) == min(MAX_OWN, MAX_OWN_BYTES // (len(value) + OVERHEAD))
    if len(volatile.own()) == MAX_OWN:
        assert Draft(volatile).takes(OWN, ("site-1", "widgets", "", "1", STATUS), value)
    volatile.apply([beat(register(1, "site-1/gw-c:1", name="1", namespace="", clock=9999))])
    assert Draft(volatile).takes(OWN, ("site-1", "widgets", "", "new", STATUS), value)


def test_there_is_a_limit_to_all() -> None:
    volatile, size = Volatile(OWN), 1 << 20
    for seq in range(1, MAX_BYTES // size):
        volatile.apply(lay(register(seq, THEIRS, name=str(seq), value=bytes(size))))
    assert Draft(volatile).takes(THEIRS, PLACE, bytes(size // 2))
    assert not Draft(volatile).takes(THEIRS, PLACE, bytes(size))
    assert Draft(volatile).takes(OWN, PLACE, b"s")  # one's own are counted on their own
    assert not Draft(volatile).takes("site-1/gw-b:1~7", PLACE, b"s")  # a start that is not known
