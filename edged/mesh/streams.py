"""Two byte streams become one connection: dial, copy both ways, and pass on how each side ended."""

import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

import trio
from trio.abc import HalfCloseableStream

from edged.errors import UnreachableError
from edged.kit.direct import Direct, Take

READ = 256 << 10  # bytes read at a time and held while the other side does not take them: all that one direction buffers
PIECES = 1024  # of one writev: IOV_MAX of Linux
TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; the socket module does not name it
NOTSENT = 1 << 20  # bytes that the kernel takes ahead of the network; trio's 16 KiB would have us come back for each
HEAD = 8 << 10  # bytes of a call that go with its opening: a request with its headers
CONNECT_S = 3.0  # a pod is on this node: it takes the connection at once, or after one lost packet, or not at all
LISTEN = 256  # connections that the kernel holds until they are taken; more are tried again by their clients
IDLE_S, PROBE_S, PROBES = 60, 15, 4  # a client that vanished without a word gives its connection back after 2 minutes


async def listen(address: str, port: int) -> trio.SocketListener:
    """A listener at exactly `address` and `port` (0: any that is free). OSError when it may not be had."""
    (listener,) = await trio.open_tcp_listeners(port, host=address, backlog=LISTEN)
    return listener


async def connect(address: str, port: int, head: bytes = b"") -> trio.SocketStream:
    """A TCP connection to `address`, an IPv4 address, on which `head` was sent.

    UnreachableError when it is refused or takes over CONNECT_S.
    """
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        with trio.fail_after(CONNECT_S):
            await sock.connect((address, port))
            stream = trio.SocketStream(sock)  # which sets TCP_NODELAY
            if head:
                await stream.send_all(head)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        sock.close()
        raise UnreachableError(f"{address}:{port}: {_why(error)}") from error
    except BaseException:
        sock.close()
        raise
    return keep_alive(stream)


def _why(error: Exception) -> str:
    if isinstance(error, trio.TooSlowError):
        return f"no answer in {CONNECT_S:g} s"
    return os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)


def keep_alive(stream: trio.SocketStream) -> trio.SocketStream:
    """Have the kernel ask an idle peer whether it is still there. Returns `stream`."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, IDLE_S), (socket.TCP_KEEPINTVL, PROBE_S), (socket.TCP_KEEPCNT, PROBES)):
        stream.setsockopt(socket.IPPROTO_TCP, option, value)
    stream.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT)
    return stream


def head(stream: trio.SocketStream) -> bytes:
    """What has arrived by now, at most HEAD bytes; empty when nothing has, and at the end."""
    try:
        return os.read(stream.socket.fileno(), HEAD)
    except OSError:  # nothing, or broken
        return b""


class Tcp(Direct):
    """Makes a TCP connection Direct."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket

    def take(self, pieces: Sequence[bytes | memoryview]) -> int:
        """As Direct says."""
        try:
            return os.writev(self._socket.fileno(), pieces[:PIECES])
        except OSError:  # full, or broken
            return 0

    async def forward(self, take: Take) -> bytes:
        """As Direct says."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                size = os.readv(self._socket.fileno(), (_BUFFER,))
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(f"socket connection broken: {error}") from error
            taken = take((_BUFFER[:size],)) if size else 0
            if taken < size or not size:
                return bytes(_BUFFER[taken:size])

    def abort(self) -> None:
        """Close with RST."""
        with suppress(OSError):  # it is closed already
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()


_BUFFER = memoryview(bytearray(READ))  # of all connections: nothing stays in it beyond a turn of the loop


async def splice(one: HalfCloseableStream, other: HalfCloseableStream) -> None:
    """Copy both ways until both sides have ended, and close both streams.

    An end of one direction is passed on as such and the other direction goes on. A side that breaks, and a cancellation,
    resets both: bytes may be missing, and nobody shall take that for an end.
    """
    ended = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_copy, one, other)
            await _copy(other, one)
        ended = True
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        for stream in (one, other):
            if not ended:
                await reset(stream)
            elif isinstance(stream, trio.SocketStream):
                stream.socket.close()
            else:
                await stream.aclose()


async def say(stream: HalfCloseableStream, data: bytes) -> None:
    """Send a few bytes; where they can leave at once they do, and nobody else runs in between."""
    direct = _direct(stream)
    left = data[direct.take((data,)) if direct is not None else 0 :]
    if left:
        await stream.send_all(left)


async def reset(stream: HalfCloseableStream) -> None:
    """Close at once and let the peer know that it was no orderly end. Nothing happens when it is closed already."""
    direct = _direct(stream)
    if direct is not None:
        direct.abort()
        return
    with trio.CancelScope(shield=True) as at_once:  # shielded, so that a cancelled caller gets to close its second stream
        at_once.cancel()
        await stream.aclose()


async def _copy(source: HalfCloseableStream, sink: HalfCloseableStream) -> None:
    """Until `source` ends; that is passed on."""
    near, far = _direct(source), _direct(sink)
    if near is not None and far is not None:
        while left := await near.forward(far.take):
            await sink.send_all(left)
    else:
        while data := await source.receive_some(READ):
            await sink.send_all(data)
    await sink.send_eof()


def _direct(stream: HalfCloseableStream) -> Direct | None:
    if isinstance(stream, trio.SocketStream):
        return Tcp(stream)
    return stream if isinstance(stream, Direct) else None
