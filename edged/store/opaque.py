"""Registers that this version cannot read: a newer edged wrote them. Pure.

They are held, passed on and replaced as all others, and not seen as objects: a reader here must never meet what it cannot
read. Which they are is kept in the file; each start of the store looks again, since it may be of another version.
"""

from collections.abc import Set as AbstractSet

from edged.errors import InvalidError, ProtocolError
from edged.model.objects import check_stored
from edged.store.view import At, Pair
from edged.wire.sync import BODY, STATUS, Place, Register

MAX_OPAQUE = 65_536  # places, 15 MB: the pods of a large group twice; who sends more is not newer but broken


def readable(register: Register) -> bool:
    """Whether this version can read a register; it can those of resources that it does not know, since it does not look."""
    if register.value is None:
        return True
    try:
        check_stored(register.resource, register.value, status=register.part == STATUS)
    except InvalidError:
        return False
    return True


class Opaque:
    """Where such registers stand: those of `base`, and what a transaction changes of it."""

    def __init__(self, base: AbstractSet[Place]) -> None:
        self._base = base
        self.changes: dict[Place, bool] = {}

    def __contains__(self, place: Place) -> bool:
        return self.changes.get(place, place in self._base)

    def cover(self, place: Place, *, opaque: bool) -> bool:
        """Note that a register can be read or not; whether this is news. ProtocolError: there are too many that can not."""
        if opaque == (place in self):
            return False
        if opaque and len(self._base) + len(self.changes) >= MAX_OPAQUE:
            raise ProtocolError(f"more than {MAX_OPAQUE} registers that this version cannot read")
        self.changes[place] = opaque
        return True


def uncovered(at: At, pair: Pair, opaque: Opaque | AbstractSet[Place]) -> Pair:
    """Of the registers of a key those that can be read."""
    body, status = pair
    return None if (*at, BODY) in opaque else body, None if (*at, STATUS) in opaque else status
