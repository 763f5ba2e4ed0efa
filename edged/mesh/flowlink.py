"""The stream of a pair of nodes that carries the datagrams of all its flows, one way of it."""

from collections import deque
from collections.abc import Callable

import trio
from trio.abc import HalfCloseableStream

from edged.wire.codec import Frames, framed
from edged.wire.peer import FLOWS, MAX_FLOWS_FRAME, Said

MAX_QUEUED = 1 << 20  # bytes that wait for the link: 16 of the largest datagrams; beyond, the oldest are dropped, as UDP may
PIECE = 64 << 10  # bytes of frames sent at once
READ = 64 << 10


class FlowLink:
    """Words out and in over a stream that is given to `run`. `send` never waits; `dropped` counts what was too much."""

    def __init__(self, received: Callable[[Said], None]) -> None:
        self._received = received
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._more = trio.Event()
        self.dropped = 0

    def send(self, said: Said) -> None:
        """Queue a word."""
        frame = framed(FLOWS.encode(said))
        self._queue.append(frame)
        self._queued += len(frame)
        while self._queued > MAX_QUEUED:
            self._queued -= len(self._queue.popleft())
            self.dropped += 1
        self._more.set()

    async def run(self, stream: HalfCloseableStream) -> None:
        """Carry words until the other side ends. BrokenResourceError when the link goes, ProtocolError for nonsense."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream)
            frames = Frames(MAX_FLOWS_FRAME)
            while data := await stream.receive_some(READ):
                frames.feed(data)
                while (frame := frames.next()) is not None:
                    self._received(FLOWS.decode(frame))
            nursery.cancel_scope.cancel()

    async def _write(self, stream: HalfCloseableStream) -> None:
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._queue:
                await stream.send_all(self._piece())

    def _piece(self) -> bytes:
        piece = bytearray()
        while self._queue and len(piece) < PIECE:
            piece += self._queue.popleft()
        self._queued -= len(piece)
        return bytes(piece)
