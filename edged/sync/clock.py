"""A hybrid logical clock (Kulkarni et al., 2014): wall time when it can be, always later than everything seen."""

from collections.abc import Callable

COUNTER_BITS = 16
MAX_SKEW_S = 600  # a stamp further ahead of us than this is refused: one bad clock must not pin values for ever


class Clock:
    """Stamps: milliseconds since 1970 times 65,536 plus a counter. `wall` gives epoch seconds and may jump either way.

    `latest` is the greatest stamp that the store holds, so that a clock set back between two starts loses no write.
    """

    def __init__(self, wall: Callable[[], float], latest: int = 0) -> None:
        self._wall = wall
        self.latest = latest

    def stamp(self) -> int:
        """A stamp later than all before and all observed."""
        self.latest = max(self.latest + 1, at(self._wall()))
        return self.latest

    def observe(self, stamp: int) -> None:
        """Another node's stamp was taken in: ours come after it."""
        self.latest = max(self.latest, stamp)

    def allows(self, stamp: int) -> bool:
        """Whether a stamp is not further ahead of the wall clock than MAX_SKEW_S."""
        return stamp <= at(self._wall() + MAX_SKEW_S)


def at(seconds: float) -> int:
    """The first stamp of a moment (epoch seconds)."""
    return int(seconds * 1000) << COUNTER_BITS
