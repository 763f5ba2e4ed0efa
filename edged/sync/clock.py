"""A hybrid logical clock (Kulkarni et al., 2014): wall time when it can be, always later than everything seen.

Wall clocks are wrong now and then: a battery is flat, somebody sets the year. What the others' clocks say is heard with their
pulses; who is far ahead of the median of the others is refused, and this machine's own clock is judged the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median_high

COUNTER_BITS = 16
MAX_SKEW_S = 600  # further ahead than this is refused: one bad clock must not pin values for ever
HEARD_S = 3600.0  # a clock that was heard counts for so long
MAX_HEARD = 1024  # nodes; the one that was heard longest ago makes room


@dataclass(slots=True)
class _Heard:
    """Another node's clock: by how much it is ahead of the steady one, when it was heard, and whether it was believed."""

    ahead: float
    at: float
    believed: bool


class Clock:
    """Stamps: milliseconds since 1970 times 65,536 plus a counter. `wall` gives epoch seconds and may jump either way.

    `steady` gives seconds that never jump: by them the others' clocks are remembered, so that when only ours jumps they
    are not blamed. `latest` is the greatest stamp that the store holds: a clock set back between two starts loses no write.
    """

    def __init__(self, wall: Callable[[], float], latest: int = 0, steady: Callable[[], float] = lambda: 0.0) -> None:
        self.wall, self._steady = wall, steady
        self.latest = latest
        self._heard: dict[str, _Heard] = {}

    def stamp(self) -> int:
        """A stamp later than all before and all observed."""
        self.latest = max(self.latest + 1, at(self.wall()))
        return self.latest

    def observe(self, stamp: int) -> None:
        """Another node's stamp was taken in: ours come after it."""
        self.latest = max(self.latest, stamp)

    def set_back(self) -> None:
        """The clock had been far ahead and is right again: stamps go on from now, whatever was stamped then."""
        self.latest = at(self.agreed())

    def hear(self, node: str, wall: float, *, counts: bool = True) -> str:
        """Another node's clock says `wall` just now; why it is refused, or "". It `counts` when it is of the own group.

        It is when it is more than MAX_SKEW_S ahead of the median of all clocks but its own. One that was believed and goes
        on as it went is believed, whatever ours does. One that is refused has its voice all the same: when all others
        agree, it is ours that is wrong.
        """
        now, ahead = self._steady(), wall - self.agreed(without=node)
        believed = ahead <= MAX_SKEW_S
        if counts:
            believed = self._remember(node, wall - now, now, believed=believed)
        if believed:
            return ""
        return f"the clock of {node} is {_words(ahead)} ahead of the others', at most {MAX_SKEW_S // 60} min are taken: set it"

    def _remember(self, node: str, ahead: float, now: float, *, believed: bool) -> bool:
        """Whether a clock is believed, by itself or because it goes on as it went."""
        before = self._heard.get(node)
        steady = before is not None and before.believed and abs(ahead - before.ahead) <= MAX_SKEW_S
        if before is None and len(self._heard) >= MAX_HEARD:
            del self._heard[min(self._heard, key=lambda name: self._heard[name].at)]
        self._heard[node] = _Heard(ahead, now, steady or believed)
        return steady or believed

    def agreed(self, without: str = "") -> float:
        """What time it is by the median of all clocks that are heard and ours (of two in the middle, the later).

        `without` is a node that is being judged.
        """
        return median_high([self.wall(), *self._others(without)])

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock is ahead of the median of the others' (behind: negative); 0 without others."""
        others = self._others()
        return self.wall() - median_high(others) if others else 0.0

    def _others(self, without: str = "") -> list[float]:
        """What the clocks of the other nodes say now, as far as they were heard lately."""
        now = self._steady()
        return [heard.ahead + now for node, heard in self._heard.items() if node != without and heard.at > now - HEARD_S]

    def allows(self, stamp: int) -> bool:
        """Whether a stamp is not further ahead than MAX_SKEW_S."""
        return stamp <= self.limit

    @property
    def limit(self) -> int:
        """The last stamp that is allowed now."""
        return at(self.agreed() + MAX_SKEW_S)


def at(seconds: float) -> int:
    """The first stamp of a moment (epoch seconds)."""
    return int(seconds * 1000) << COUNTER_BITS


def _words(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} min"
