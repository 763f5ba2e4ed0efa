"""The newest reports, which are in memory only, and when they must go to the file (pure). `now` is monotonic seconds.

Flash is spared: what every way out has acknowledged is history alone, which may wait. What a way has not acknowledged
is in the file within a second, so that a kill or a power cut costs no more than that.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from itertools import islice
from operator import itemgetter

from edged.device.history.reports import BLOCK_BYTES, Report

UNSENT_S = 0.5  # a way that acknowledges within this time costs no flash
GAP_S = 0.9  # between two commits: with the time that one takes, at most a second is lost
CHECKPOINT_S = 300.0  # history waits this long for the flash: an idle device costs 288 pages a day or so
MAX_TAIL = 4 << 20  # bytes of reports that a disk which takes nothing holds up in memory; then the oldest goes


class Tail:
    """Reports that are not in the file yet, in order of their ids."""

    def __init__(self) -> None:
        self._reports: deque[Report] = deque()
        self._times: deque[float] = deque()  # when each was appended
        self._sizes: deque[int] = deque()  # of each, in bytes
        self._size = 0
        self._not_before = -math.inf  # of the next commit

    def __len__(self) -> int:
        return len(self._reports)

    def append(self, report: Report, now: float) -> int:
        """Keep a report; how many older ones had to go for it, unsaved."""
        self._reports.append(report)
        self._times.append(now)
        self._sizes.append(report.size)
        self._size += self._sizes[-1]
        dropped = 0
        while self._size > MAX_TAIL and len(self._reports) > 1:
            self._pop()
            dropped += 1
        return dropped

    @property
    def full(self) -> bool:
        """Whether there is a block's worth, which goes to the file at once."""
        return self._size >= BLOCK_BYTES

    @property
    def size(self) -> int:
        """Bytes of memory that these reports take, about."""
        return self._size

    def reports(self) -> list[Report]:
        """All that is to be saved."""
        return list(self._reports)

    def after(self, cursor: int, limit: int) -> list[Report]:
        """The first reports beyond an id."""
        begin = bisect_right(self._reports, cursor, key=_ID)
        return list(islice(self._reports, begin, begin + limit))

    def saved(self, upto: int, now: float) -> None:
        """All reports up to an id are in the file."""
        while self._reports and self._reports[0].id <= upto:
            self._pop()
        self._not_before = now + GAP_S

    def refused(self, until: float) -> None:
        """The disk takes no writes: not before this time is it asked again."""
        self._not_before = until

    def _pop(self) -> None:
        self._times.popleft()
        self._reports.popleft()
        self._size -= self._sizes.popleft()

    def due(self, cursors: Mapping[str, int]) -> float:
        """When these reports must be written; infinity: there are none. `cursors`: up to which id each way has acknowledged."""
        if not self._reports:
            return math.inf
        if self.full:
            return self._not_before
        time = self._times[0] + CHECKPOINT_S
        at = bisect_right(self._reports, min(cursors.values(), default=math.inf), key=_ID)
        if at < len(self._times):
            time = min(time, self._times[at] + UNSENT_S)
        return max(time, self._not_before)

    def cursors_due(self, cursors: Mapping[str, int], saved: Mapping[str, int], last_saved: int) -> float:
        """When the ways' cursors must be written; infinity: those that are `saved` will do, with `last_saved` the last report.

        They are written without the reports: of those, which are not acknowledged yet, the cursors would lag again.
        """
        lag = any(_lags(cursor, saved.get(way), last_saved) for way, cursor in cursors.items())
        return self._not_before if lag or saved.keys() - cursors.keys() else math.inf


def _lags(cursor: int, saved: int | None, last_saved: int) -> bool:
    """Whether a crash would send again what is in the file and was acknowledged, or forget that there is such a way."""
    return saved is None or saved < min(cursor, last_saved)


_ID = itemgetter(0)
