"""What the flash did not keep: the places of registers that no longer match their checksum."""

from edged.wire.sync import Place

MAX_DAMAGED = 4096  # places remembered; with more the file is beyond repair by pieces, and each is noticed again when read


class Damage:
    """The damaged places that were noticed, each with the clock of its register as it reads.

    The two threads of a store share it: each method is one step on a dict.
    """

    def __init__(self) -> None:
        self._clocks: dict[Place, int] = {}
        self.noticed = 0  # damaged registers met since the start, each once for as long as it is remembered
        self._changes = self._told = 0

    @property
    def places(self) -> frozenset[Place]:
        """Where damage was noticed and not yet repaired."""
        return frozenset(self._clocks)

    def note(self, place: Place, clock: int) -> None:
        """The register in `place` is damaged; `clock` is how its own reads."""
        if place not in self._clocks and len(self._clocks) < MAX_DAMAGED:
            self._clocks[place] = clock
            self.noticed += 1
            self._changes += 1

    def clock(self, place: Place) -> int | None:
        """How the clock of the damaged register in `place` reads; None when none is known there."""
        return self._clocks.get(place)

    def forget(self, place: Place) -> None:
        """What stands in `place` is good again, or nothing does."""
        if self._clocks.pop(place, None) is not None:
            self._changes += 1

    def news(self) -> bool:
        """Whether other places are damaged than when this was asked last."""
        told, self._told = self._told, self._changes
        return told != self._told
