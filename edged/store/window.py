"""The latest changes, in memory: what a watch follows. Bounded in number and bytes; who asks for older lists again."""

from collections import deque

from edged.errors import ExpiredError
from edged.store.writes import Change

MAX_CHANGES = 4096  # a watch that lags by more than this many changes lists again, as with any API server
MAX_BYTES = 4 << 20  # of bodies and statuses: a window of large objects must not eat a gateway's memory


class Window:
    """Changes in order of their numbers, the oldest dropped when full.

    Numbers up to `start` are not remembered: at first everything that was there when the store was opened.
    """

    def __init__(self, start: int) -> None:
        self._changes: deque[Change] = deque()
        self._bytes = 0
        self.start = start
        self.revision = start

    def append(self, change: Change) -> None:
        """Remember one more change; its number is at least the last one's."""
        self._changes.append(change)
        self._bytes += _size(change)
        self.revision = change.rv
        while len(self._changes) > MAX_CHANGES or self._bytes > MAX_BYTES:
            gone = self._changes.popleft()
            self._bytes -= _size(gone)
            self.start = gone.rv

    def advance(self, revision: int) -> None:
        """Numbers up to `revision` are given out; those without a change changed nothing that can be seen."""
        self.revision = max(self.revision, revision)

    def since(self, rv: int) -> list[Change]:
        """The changes after `rv`, in order. ExpiredError when some are forgotten, or `rv` was never given out."""
        if not self.start <= rv <= self.revision:
            raise ExpiredError(f"too old resource version: {rv} ({self.start})")
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.rv <= rv:
                break
            found.append(change)
        found.reverse()
        return found


def _size(change: Change) -> int:
    return len(change.object.body) + len(change.object.status or b"")
