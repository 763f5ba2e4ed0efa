"""A digest of registers, whatever their order: two stores that hold the same have the same. Pure.

Tombstones count for DAYS only, measured from the latest register: stores do not forget the old ones at the same moment.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from edged.wire.sync import DIGEST

DAYS = 7  # of the 30 for which a tombstone is kept
DAY = 86_400_000 << 16  # of a hybrid logical clock
COLUMNS = "scope, resource, namespace, name, part, origin, seq, CAST(clock AS INTEGER), value IS NULL, signature"
_CLOCK, _GONE = 7, 8
_ENCODER = msgspec.msgpack.Encoder()


class Digest:
    """Add the rows, of COLUMNS, in any order; then ask for the `value`."""

    def __init__(self) -> None:
        self._standing = 0
        self._gone: dict[int, int] = {}  # tombstones, by their day
        self._last = 0

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Some more registers, each once."""
        for row in rows:
            number = int.from_bytes(blake2b(_ENCODER.encode(row), digest_size=DIGEST).digest())
            day = row[_CLOCK] // DAY
            self._last = max(self._last, day)
            if row[_GONE]:
                self._gone[day] = self._gone.get(day, 0) ^ number
            else:
                self._standing ^= number

    @property
    def value(self) -> bytes:
        """DIGEST bytes."""
        total = self._standing
        for day, number in self._gone.items():
            if day > self._last - DAYS:
                total ^= number
        return total.to_bytes(DIGEST)
