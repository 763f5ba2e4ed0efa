"""What is asked of the devices of this node: by its own API, and by other nodes over a link."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import trio
from msgspec.structs import asdict

from edged.device.readings import Reading
from edged.hub.answering import serve_text
from edged.model.meta import JSON
from edged.model.objects import dump
from edged.wire.peer import DeviceCall, DeviceHistory

AT_ONCE = 500  # readings in a piece of an answer: 50 kB
Call = Callable[[DeviceCall], Awaitable[JSON]]
History = Callable[[str, str, str, int, int, int], Awaitable[Sequence[Reading]]]


class DeviceDoors:
    """Answers with JSON: a call with one value, a history with a line for each reading.

    `call` calls a method of a device that this node serves; `history(namespace, device, property, since, until, limit)` has
    what devices said here, whether or not they are served here still.
    """

    def __init__(self, call: Call, history: History) -> None:
        self._call, self._history = call, history

    async def open(self, asked: DeviceCall | DeviceHistory) -> AsyncGenerator[bytes, None]:
        """The answer, which is there when this returns. NotFoundError, InvalidError, UnreachableError, StorageError."""
        if isinstance(asked, DeviceCall):
            return _pieces([dump(await self._call(asked))])
        name = asked.namespace, asked.device, asked.property
        return _pieces(_lines(await self._history(*name, asked.since, asked.until, asked.limit)))

    async def serve(self, peer: str, asked: DeviceCall | DeviceHistory, stream: trio.abc.HalfCloseableStream) -> None:
        """The same for a peer."""
        await serve_text(lambda: self.open(asked), stream)


def _lines(readings: Sequence[Reading]) -> list[bytes]:
    lines = [dump(asdict(each)) + b"\n" for each in readings]
    return [b"".join(lines[at : at + AT_ONCE]) for at in range(0, len(lines), AT_ONCE)]


async def _pieces(pieces: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece
