"""How many connections of one address may be unproved at once: handshakes and proofs cost the relay work, members none."""

from collections import Counter
from types import TracebackType

OPENING_AN_ADDRESS = 64  # a site of 64 gateways behind one NAT reconnects at once


class Openings:
    """Unproved connections, counted by address."""

    def __init__(self, limit: int = OPENING_AN_ADDRESS) -> None:
        self.limit = limit
        self.counts: Counter[str] = Counter()


class Opening:
    """One connection, unproved from `begin` to `done` or to the end of its `with` block."""

    def __init__(self, all_: Openings) -> None:
        self._all = all_
        self._host: str | None = None

    def __enter__(self) -> "Opening":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.done()

    def begin(self, host: str) -> bool:
        """It comes from `host`; False, and not counted, when that has too many."""
        if self._all.counts[host] >= self._all.limit:
            return False
        self._all.counts[host] += 1
        self._host = host
        return True

    def done(self) -> None:
        """It is proved, or over. May be said twice."""
        if self._host is not None:
            self._all.counts[self._host] -= 1
            if not self._all.counts[self._host]:
                del self._all.counts[self._host]
            self._host = None
