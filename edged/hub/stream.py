"""A stream of a link, as trio has streams. It knows nothing of QUIC beyond an id and a link that takes bytes."""

import operator
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import trio

from edged.errors import ProtocolError, UnreachableError
from edged.hub.link import Link
from edged.kit.direct import Direct, Feeding, Take
from edged.wire.codec import LENGTH

SEND_PIECE = 256 << 10  # bytes handed to QUIC at a time: other tasks run in between, every 2 ms at 130 MB/s
SEND_AGAIN = 256 << 10  # bytes of room at which a writer is woken before all it wrote has left: a switch for each ACK costs
RECEIVE_MOST = 256 << 10  # bytes that one receive_some returns when asked for no number


class Carrier(Protocol):
    """What a stream asks of the connection it runs on."""

    link: Link
    waiting: "set[LinkStream]"

    def flush(self) -> None:
        """Send what the link has to send."""

    def linger(self) -> None:
        """Send what the link has to send in a moment, unless it goes with something else before."""

    def forget(self, stream: int) -> None:
        """The stream is closed: nothing that happens to it matters any more."""


class LinkStream(trio.abc.HalfCloseableStream, Feeding):
    """A bidirectional stream to `peer`.

    Data that was sent before `aclose` is delivered; `trio.aclose_forcefully` resets, so that the peer's reader gets an error
    instead of an end. When the link is lost both directions raise BrokenResourceError, after what had arrived was read.
    """

    def __init__(self, carrier: Carrier, stream: int) -> None:
        self._carrier, self._link, self._id = carrier, carrier.link, stream
        self.peer = carrier.link.peer or ""
        self._arrived: deque[bytes] = deque()
        self._take: Take | None = None  # of the reader that waits in `forward`, or of the sink that is fed
        self._sink: Direct | None = None
        self._disturbed: Callable[[], None] | None = None
        self._ended = False
        self._eof_sent = False
        self._closed = False
        self._receive_broken: str | None = None
        self._send_broken: str | None = None
        self._readable = trio.Event()
        self._writable = trio.Event()
        self._sender, self._receiver = _One("is sending on"), _One("is reading from")

    # ---- what the link says

    def arrived(self, pieces: list[bytes], end: bool) -> None:
        """Bytes came, and perhaps the end. Who calls this flushes the connection afterwards."""
        if self._closed:
            return
        self._ended = self._ended or end
        if self._take is not None and pieces and not self._arrived:
            self._arrived.extend(self._offered(pieces, self._take))
        else:
            self._arrived.extend(pieces)
        if self._arrived or self._ended:
            self._notice()

    def was_reset(self) -> None:
        """The peer gave up sending."""
        self._receive_broken = "the peer reset the stream"
        self._arrived.clear()
        self._notice()

    def was_stopped(self) -> None:
        """The peer reads no more."""
        self._send_broken = "the peer reads no more"
        self._writable.set()

    def lost(self, reason: str) -> None:
        """The link is down."""
        if not self._ended:
            self._receive_broken = f"link lost: {reason}"
        self._send_broken = f"link lost: {reason}"
        self._notice()
        self._writable.set()

    def progressed(self) -> None:
        """The link has sent or heard something: a waiting writer may have room again."""
        room = self._link.room(self._id)
        if room >= SEND_AGAIN or (room > 0 and not self._link.waiting(self._id)):
            self._writable.set()

    # ---- what trio asks

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Queue all of `data`; waits while the peer does not read or the network does not carry it."""
        with self._sender:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._check_sending()
            rest = memoryview(data).cast("B")
            while rest:
                room = await self._room()
                piece = rest[: min(room, SEND_PIECE)]
                self._link.send(self._id, piece)
                self._carrier.flush()
                rest = rest[len(piece) :]
                if rest:
                    await trio.lowlevel.checkpoint()
                    self._check_sending()
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send something."""
        with self._sender:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            await self._room()

    async def send_eof(self) -> None:
        """No more will be sent; what the peer sends can still be read."""
        with self._sender:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("the stream is closed")
            if not self._eof_sent:
                self._check_sending()
                self._say_end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What arrived, up to `max_bytes`; waits while there is nothing. Empty at the end."""
        most = RECEIVE_MOST if max_bytes is None else operator.index(max_bytes)
        if most < 1:
            raise ValueError(f"max_bytes {most}: expected 1 or more")
        with self._receiver:
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._something()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return self._received(most)

    async def aclose(self) -> None:
        """Close both directions. What was sent is delivered, unless this is cancelled: then the stream is reset."""
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self.abort()
            raise
        self.close()

    # ---- at once

    def take(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Send of `pieces` what there is room for, here and now; how many bytes that was."""
        taken = self._queued(pieces)
        if taken:
            self._carrier.flush()
        return taken

    def take_soon(self, pieces: Sequence[bytes | memoryview]) -> int:
        """As `take`, for what may wait some milliseconds for more to travel with."""
        taken = self._queued(pieces, waits=True)
        if taken:
            self._carrier.linger()
        return taken

    def _queued(self, pieces: Sequence[bytes | memoryview], *, waits: bool = False) -> int:
        if self._closed or self._eof_sent or self._send_broken is not None or self._sender.busy:
            return 0
        left = room = max(self._link.room(self._id), 0)
        for piece in pieces:
            self._link.send(self._id, piece if len(piece) <= left else piece[:left], waits=waits)
            left -= min(len(piece), left)
            if not left:
                break
        return room - left

    def feed(self, sink: Direct, disturbed: Callable[[], None]) -> None:
        """Give what arrives from now on to `sink`, and the end, too; `disturbed` is told what it cannot be told."""
        self._take, self._sink, self._disturbed = sink.take, sink, disturbed
        if self._arrived:
            self._arrived = deque(self._offered(self._arrived, sink.take))
            self._flush_due()
        if self._arrived or self._ended or self._closed or self._receive_broken:
            self._notice()

    def keep(self) -> None:
        """Keep what arrives from now on for a reader."""
        self._take = self._sink = self._disturbed = None

    @property
    def spoken_to(self) -> bool:
        """Whether something has arrived that nobody has read."""
        return bool(self._arrived)

    async def forward(self, take: Take) -> bytes:
        """Give what arrives to `take` as long as it takes all of it; returns what it left over, empty at the end."""
        with self._receiver:
            if self._arrived:
                self._arrived = deque(self._offered(self._arrived, take))
                self._carrier.flush()
            self._take = take
            try:
                await self._something()
            finally:
                self._take = None
            return self._received(RECEIVE_MOST)

    def end(self) -> None:
        """No more will be sent. Nothing when that was said before, or cannot be said any more.

        After the other end has said so itself, this waits some milliseconds for more to travel with: mostly nobody listens.
        """
        if not self._eof_sent:
            self._say_end(waits=self._ended)

    def close(self) -> None:
        """Close both directions, here and now. What was sent is delivered. Nothing when it is closed."""
        if self._closed:
            return
        self._closed = True
        self._arrived.clear()
        self._link.stop(self._id)
        if not self._eof_sent:
            self._say_end()
        self._flush_due()
        self._carrier.forget(self._id)
        self._readable.set()
        self._writable.set()

    def abort(self) -> None:
        """Reset both directions, here and now: the other end's reader and writer get errors. Nothing when it is closed."""
        if not self._closed:
            self._link.reset(self._id)
            self.close()

    # ---- frames before the bytes

    async def receive_frame(self, limit: int) -> bytes:
        """One length-prefixed frame; the bytes after it are left to receive_some.

        ProtocolError when it is longer than `limit`, UnreachableError when the stream ends or breaks before it is whole.
        """
        if not self._arrived:
            with self._receiver:
                await self._something()
        return self.frame_nowait(limit) or await self._frame(limit)

    def frame_nowait(self, limit: int) -> bytes:
        """The same when all of it is here; empty when it is not."""
        first = self._arrived[0] if self._arrived else b""
        end = LENGTH + int.from_bytes(first[:LENGTH], "big")
        if not LENGTH < end <= min(len(first), LENGTH + limit) or self._closed:
            return b""
        return self._taken(end)[LENGTH:]

    # ---- within

    def _say_end(self, *, waits: bool = False) -> None:
        self._eof_sent = True
        self._link.send(self._id, b"", end=True, waits=waits)
        if waits:
            self._carrier.linger()
        else:
            self._carrier.flush()

    def _flush_due(self) -> None:
        if self._link.due:
            self._carrier.flush()

    async def _frame(self, limit: int) -> bytes:
        length = int.from_bytes(await self._exactly(LENGTH), "big")
        if length > limit:
            raise ProtocolError(f"a frame of {length} bytes, at most {limit} are taken")
        return await self._exactly(length)

    async def _exactly(self, length: int) -> bytes:
        data = b""
        with self._receiver:
            while len(data) < length:
                try:
                    await self._something()
                    piece = self._received(length - len(data))
                except trio.BrokenResourceError as error:
                    raise UnreachableError(f"{self.peer}: {error}") from error
                if not piece:
                    raise UnreachableError(f"{self.peer} ended the stream before it said what was expected")
                data += piece
        return data

    def _notice(self) -> None:
        """There is something to tell a reader; who feeds a sink is told only what the sink cannot be."""
        if self._sink is None or self._disturbed is None:
            self._readable.set()
        elif self._ended and not self._arrived and not self._closed:
            self._sink.end()
        else:
            self._disturbed()

    async def _something(self) -> None:
        """Wait until there is something to tell a reader."""
        while not (self._arrived or self._ended or self._closed or self._receive_broken):
            self._readable = trio.Event()
            await self._readable.wait()

    def _received(self, most: int) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError("the stream is closed")
        if self._arrived:
            return self._taken(most)
        if self._receive_broken is not None:
            raise trio.BrokenResourceError(self._receive_broken)
        return b""

    def _offered(self, pieces: Iterable[bytes], take: Take) -> Iterable[bytes]:
        """What `take` leaves of `pieces`."""
        pieces = list(pieces)
        taken = take(pieces)
        self._link.consumed(self._id, taken)
        at = 0
        while at < len(pieces) and taken >= len(pieces[at]):
            taken -= len(pieces[at])
            at += 1
        if not taken:
            return pieces[at:]
        return [pieces[at][taken:], *pieces[at + 1 :]]

    def _check_sending(self) -> None:
        if self._closed or self._eof_sent:
            raise trio.ClosedResourceError("the stream is closed for sending")
        if self._send_broken is not None:
            raise trio.BrokenResourceError(self._send_broken)

    async def _room(self) -> int:
        while (room := self._link.room(self._id)) <= 0:
            self._writable = trio.Event()
            self._carrier.waiting.add(self)
            try:
                await self._writable.wait()
            finally:
                self._carrier.waiting.discard(self)
            self._check_sending()
        return room

    def _taken(self, most: int) -> bytes:
        if len(self._arrived[0]) > most:
            first = self._arrived[0]
            data, self._arrived[0] = first[:most], first[most:]
        else:
            pieces = [self._arrived.popleft()]
            length = len(pieces[0])
            while self._arrived and length + len(self._arrived[0]) <= most:
                pieces.append(self._arrived.popleft())
                length += len(pieces[-1])
            data = b"".join(pieces)
        if self._link.consumed(self._id, len(data)):
            self._carrier.flush()
        return data


class _One:
    """Lets one task in at a time; a second one gets trio's BusyResourceError, as its contract says."""

    def __init__(self, what: str) -> None:
        self._what, self.busy = what, False

    def __enter__(self) -> None:
        if self.busy:
            raise trio.BusyResourceError(f"another task {self._what} this stream")
        self.busy = True

    def __exit__(self, *_: object) -> None:
        self.busy = False
