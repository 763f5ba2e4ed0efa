"""What the store does to itself: healing, checkpoints, the end of old tombstones, fresh copies, clocks that were wrong.

Each is a piece of work on one transaction, bounded by UPKEEP_BATCH; `store.py` repeats it until all is done.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from edged.store.apply import Transaction
from edged.store.rows import Placed
from edged.store.view import later
from edged.store.volatile import Drop, Hold
from edged.wire.sync import BODY, VOLATILE, Place, Register, durable

UPKEEP_BATCH = 256  # registers in one transaction: other writers wait some 20 ms for it at most


def restore(transaction: Transaction, registers: Iterable[Register]) -> None:
    """Put registers back that beat what stands in their place, and are not older than what was damaged there."""
    for register in registers:
        place = register.place
        there, doubt = transaction.look(place), transaction.table.damage.clock(place)
        if VOLATILE in register.origin or (doubt is not None and register.clock < doubt):
            continue
        if there is None or register.beats(there.register):
            transaction.put(register)
        transaction.table.damage.forget(place)
    transaction.tell()


def abandon(transaction: Transaction, places: Iterable[Place]) -> None:
    """Take away what is damaged and in nobody's hands any more."""
    for place in places:
        if transaction.table.damage.clock(place) is None:
            continue
        if transaction.look(place) is None:
            transaction.remove(place)
        transaction.table.damage.forget(place)
    transaction.tell()


def checkpoint(transaction: Transaction, fleeting: Iterable[Placed], clock: int) -> None:
    """Write those of this store's volatile statuses durably that are what is seen of their objects."""
    for register in (placed.register for placed in fleeting):
        place = register.place
        status = later(transaction.look(place), transaction.draft.best(place))
        body = transaction.look((*place[:4], BODY))
        seen = body is not None and body.register.value is not None and body.register.uid == register.uid
        if seen and status is not None and status.register == register:
            transaction.own(place, register.uid, register.value, clock)
    transaction.tell()


def forget(transaction: Transaction, before_clock: int) -> int:
    """Remove some of the tombstones before a clock, and raise the floors of their origins; how many."""
    gone = transaction.table.tombstones(before_clock, UPKEEP_BATCH)
    for register in gone:
        transaction.table.remove(register.place)
        transaction.usage.replace(register, None)
        transaction.table.raise_floor(register.origin, register.seq)
    transaction.end()
    return len(gone)


def sweep(transaction: Transaction, origin: str, since: int, upto: int, standing: AbstractSet[int]) -> int:
    """Remove some of the registers of `origin` in (since, upto] that do not stand; how far it came, `since` at the end."""
    came = since
    for seq, place in transaction.table.after(origin, since, UPKEEP_BATCH):
        if seq > upto:
            break
        if seq not in standing:
            transaction.remove(place)
        came = seq
    transaction.tell()
    return came


def swept(transaction: Transaction, held: Mapping[str, int], floors: Mapping[str, int]) -> None:
    """A fresh copy is complete up to `held`: all of that is here, but for tombstones up to `floors`, which it did not have."""
    for origin, upto in held.items():
        if upto > transaction.held(origin):
            transaction.advance(origin, upto)
        transaction.table.raise_floor(origin, min(upto, floors.get(origin, 0)))


def restamp(transaction: Transaction, origin: str, limit: int, clock: int) -> int:
    """Write some of the registers of an own origin that are later than `limit` again, with this clock; how many."""
    if VOLATILE in origin:
        found = [placed.register for placed in transaction.draft.own() if placed.register.clock > limit]
    else:
        found = transaction.table.beyond(origin, limit, UPKEEP_BATCH)
    for register in found:
        transaction.write_at(origin, register.place, register.uid, register.value, clock)
    transaction.tell()
    return len(found)


def rename(transaction: Transaction, forgotten: str, id_: str, opened: Mapping[str, int]) -> bool:
    """Go on under another id, unless `forgotten` is no origin of the present one; what is volatile becomes durable.

    Of the former origins all is held that was when the store was `opened`, and no more.
    """
    before = transaction.origins
    if durable(forgotten) not in (before.durable, before.fleet):
        return False
    transaction.origins = before._replace(id=id_)
    transaction.table.name(id_, before.start)
    for origin, number in opened.items():
        transaction.held(origin)
        transaction.advance(origin, number)
    _settle(transaction, before.volatile)
    transaction.draft.take(Hold(transaction.origins.volatile, 0))
    return True


def leap(transaction: Transaction, origin: str, upto: int) -> None:
    """Use no number of an own origin up to `upto`."""
    if upto > transaction.held(origin):
        if VOLATILE in origin:
            _settle(transaction, origin)
        transaction.advance(origin, upto)


def _settle(transaction: Transaction, origin: str) -> None:
    """What is volatile under an own origin becomes durable."""
    fleeting = transaction.draft.own()
    checkpoint(transaction, fleeting, 0)
    for placed in fleeting:
        transaction.draft.take(Drop(placed.register.place, origin))
    transaction.tell()


def rewrite(transaction: Transaction, origin: str, since: int, upto: int) -> int:
    """Write some registers of an origin with numbers in (since, upto] again, with the next numbers; how many."""
    found = [place for seq, place in transaction.table.after(origin, since, UPKEEP_BATCH) if seq <= upto]
    for place in found:
        there = transaction.look(place)
        if there is not None:
            transaction.own(place, there.register.uid, there.register.value, there.register.clock)
    transaction.tell()
    return len(found)
