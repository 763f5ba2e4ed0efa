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
    def end(self) -> None:
        """Say at once that no more will be sent. Nothing where that cannot be said: the usual way tells what is wrong."""

    @abstractmethod
    def close(self) -> None:
        """Close at once, in good order: what was sent is delivered. Nothing when it is closed."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once: the other end gets errors instead of an end. Nothing when it is closed."""


class Feeding(Direct):
    """A stream that needs no task to pass on what arrives: who receives for it tells it in the same turn."""

    @abstractmethod
    def feed(self, sink: Direct, disturbed: Callable[[], None]) -> None:
        """Give what arrives from now on to `sink`, and the end, too.

        `disturbed` is called when a task must look after it: the sink did not take all, or this stream broke.
        """

    @abstractmethod
    def keep(self) -> None:
        """Keep what arrives from now on for a reader; so also what the sink did not take."""

    @property
    @abstractmethod
    def spoken_to(self) -> bool:
        """Whether something has arrived that nobody has read."""

    @abstractmethod
    def take_soon(self, pieces: Sequence[bytes | memoryview]) -> int:
        """As `take`, for what may wait some milliseconds for more to travel with."""
