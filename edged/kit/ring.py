"""Who of many is linked to whom: few links each, never in two pieces, and hardly a change when one comes or goes. Pure.

A few names are all linked to each other. Many stand on RINGS rings, on each in another order, that of their digests, and
each name is linked to the next on either side: at most 2 * RINGS links. One ring keeps all in one piece; several in
unrelated orders bring any two of a thousand within about six steps (Law and Siu, Distributed construction of random
expander networks, 2003). Who comes takes a place between two on each ring, who goes leaves those two to each other; nobody
else's links change. Both ends of a link come to the same answer when they know the same names.
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator

RINGS = 3  # two make the way from end to end a third longer, four cost everybody two links more
FULL = 8  # names that are all linked to each other: seven links each cost less than a step more for every message


class Rings:
    """Names that come and go, each at the cost of a few searches."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = set(names)
        self._rings = [sorted(_place(ring, name) for name in self._names) for ring in range(RINGS)]

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str) -> frozenset[str]:
        """`name` comes: whose neighbours are others now, itself among them. None when it is there already."""
        if name in self._names:
            return frozenset()
        self._names.add(name)
        for ring, places in enumerate(self._rings):
            insort(places, _place(ring, name))
        return self._changed(name, len(self) <= FULL + 1)

    def remove(self, name: str) -> frozenset[str]:
        """`name` goes: whose neighbours are others now, itself among them. None when it is not there."""
        if name not in self._names:
            return frozenset()
        changed = self._changed(name, len(self) <= FULL + 1)
        self._names.remove(name)
        for ring, places in enumerate(self._rings):
            del places[bisect_left(places, _place(ring, name))]
        return changed

    def neighbours(self, name: str, missed: Collection[str] = ()) -> frozenset[str]:
        """The names to which `name` is linked; none when it is not there. Behind those that are missed, the next one too."""
        if name not in self._names:
            return frozenset()
        if len(self) <= FULL:
            return frozenset(self._names - {name})
        found: set[str] = set()
        for ring, places in enumerate(self._rings):
            at = bisect_left(places, _place(ring, name))
            others = [other for _, other in places[at + 1 :] + places[:at]]
            found.update(_up_to_one_present(others, missed))
            found.update(_up_to_one_present(reversed(others), missed))
        return frozenset(found)

    def _changed(self, name: str, everybody: bool) -> frozenset[str]:
        return frozenset(self._names) if everybody else self.neighbours(name) | {name}


def _up_to_one_present(names: Iterable[str], missed: Collection[str]) -> Iterator[str]:
    for name in names:
        yield name
        if name not in missed:
            return


def _place(ring: int, name: str) -> tuple[bytes, str]:
    return hashlib.sha256(f"{ring} {name}".encode()).digest()[:8], name
