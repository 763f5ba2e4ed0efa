"""Streams that pass bytes on in the turn of the loop in which they came: no task switch and no copy in between."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

Take = Callable[[Sequence[bytes | memoryview]], int]


class Direct(ABC):
    """A stream that can be spoken to at once. `one.forward(other.take)` copies; what `take` leaves goes the usual way."""

    @abstractmethod
    def take(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Send as many of these bytes as can be sent at once; how many. Never raises: the usual way tells what is wrong."""

    @abstractmethod
    async def forward(self, take: Take) -> bytes:
        """Give what arrives to `take` as long as it takes all of it; returns what it left over, empty at the end."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once: the other end gets errors instead of an end. Nothing when it is closed."""
