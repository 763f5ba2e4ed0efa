"""Two byte streams become one connection: dial, copy both ways, and pass on how each side ended."""

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio
from trio.abc import HalfCloseableStream

from edged.errors import UnreachableError
from edged.kit.direct import Direct, Feeding, Take

READ = 256 << 10  # bytes read at a time and held while the other side does not take them: all that one direction buffers
PIECES = 1024  # of one writev: IOV_MAX of Linux
TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; the socket module does not name it
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h, unnamed as well: the port is chosen at connect(2), by where it leads, not before
NOTSENT = 1 << 20  # bytes that the kernel takes ahead of the network; trio's 16 KiB would have us come back for each
HEAD = 8 << 10  # bytes of a call that go with its opening: a request with its headers
CONNECT_S = 3.0  # a pod is on this node: it takes the connection at once, or after one lost packet, or not at all
LISTEN = 256  # connections that the kernel holds until they are taken; more are tried again by their clients
ACCEPTS = 16  # taken in one turn of the loop: a few milliseconds, then other tasks have theirs
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}  # of accept(2): no descriptors, or no memory
FULL_S = 0.1  # until the next try then: some connections end meanwhile, and the kernel holds those that wait
CLOSED = -1  # for a descriptor
AT_ONCE = struct.pack("ii", 1, 0)  # struct linger of socket(7): unsent data is dropped, and the other end told by RST
IDLE_S, PROBE_S, PROBES = 60, 15, 4  # a client that vanished without a word gives its connection back after 2 minutes


async def listen(address: str, port: int) -> socket.socket:
    """A socket that listens at exactly `address` and `port` (0: any that is free). OSError when it may not be had."""
    (listener,) = await trio.open_tcp_listeners(port, host=address, backlog=LISTEN)
    sock = socket.socket(fileno=listener.socket.detach())
    sock.setblocking(False)
    _keep_alive(sock)  # and what is accepted of it, as the kernel hands this on
    return sock


async def serve(
    listener: socket.socket, handler: Callable[[trio.SocketStream], Awaitable[None]], nursery: trio.Nursery
) -> None:
    """Take connections, each for a task of `nursery` that closes it, until cancelled; then close `listener`."""
    with listener:
        await trio.lowlevel.checkpoint_if_cancelled()  # before it began: then whoever cancelled may have closed it, too
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(ACCEPTS):
                try:
                    sock, _address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:  # mostly one that the client's leaving caused
                    if error.errno in FULL:
                        await trio.sleep(FULL_S)
                    continue
                nursery.start_soon(handler, _stream(sock))


async def connect(address: str, port: int, head: bytes = b"", source: str = "") -> trio.SocketStream:
    """A TCP connection to `address`, an IPv4 address, on which `head` was sent; from `source`, where that is given.

    UnreachableError when it is refused or takes over CONNECT_S.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        _keep_alive(sock)
        if source:
            _bind(sock, source)
        await _connected(sock, (address, port))
        stream = _stream(sock)
        await say(stream, head)
    except BaseException as error:
        sock.close()
        if isinstance(error, trio.BrokenResourceError):
            raise UnreachableError(f"{address}:{port}: {error}") from error
        raise
    return stream


def _stream(sock: socket.socket) -> trio.SocketStream:
    """A connection as trio has it."""
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))  # which sets TCP_NODELAY
    sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT)
    return stream


def _bind(sock: socket.socket, source: str) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    except OSError as error:
        raise UnreachableError(f"a connection cannot come from {source}: {error.strerror}") from error


async def _connected(sock: socket.socket, address: tuple[str, int]) -> None:
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:  # on this machine and its bridges it is done by now, which the first call cannot say
        error = sock.connect_ex(address)
    if error == errno.EALREADY:
        with trio.move_on_after(CONNECT_S) as patience:
            await trio.lowlevel.wait_writable(sock)
        if patience.cancelled_caught:
            raise UnreachableError(f"{address[0]}:{address[1]}: no answer in {CONNECT_S:g} s")
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise UnreachableError(f"{address[0]}:{address[1]}: {os.strerror(error)}")


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel ask an idle peer whether it is still there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, IDLE_S), (socket.TCP_KEEPINTVL, PROBE_S), (socket.TCP_KEEPCNT, PROBES)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


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
        self.disturbed = False

    def take(self, pieces: Sequence[bytes | memoryview]) -> int:
        """As Direct says."""
        try:
            return os.writev(self._socket.fileno(), pieces[:PIECES])
        except OSError:  # full, or broken
            return 0

    async def forward(self, take: Take) -> bytes:
        """As Direct says. ClosedResourceError when it was disturbed."""
        while True:
            if self.disturbed:
                raise trio.ClosedResourceError("somebody has to look after both directions")
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

    def disturb(self) -> None:
        """End `forward`. A cancel scope would do the same, for a twentieth of the time that a short call takes."""
        self.disturbed = True
        trio.lowlevel.notify_closing(self._socket)

    def end(self) -> None:
        """As Direct says."""
        if not self._socket.did_shutdown_SHUT_WR:
            with suppress(OSError):  # the other end has left: reading tells
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """As Direct says."""
        self._socket.close()

    def abort(self) -> None:
        """Close with RST."""
        if self._socket.fileno() != CLOSED:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            self._socket.close()


_BUFFER = memoryview(bytearray(READ))  # of all connections: nothing stays in it beyond a turn of the loop


async def splice(one: HalfCloseableStream, other: HalfCloseableStream) -> None:
    """Copy both ways until both sides have ended, and close both streams.

    An end of one direction is passed on as such and the other direction goes on. A side that breaks, and a cancellation,
    resets both: bytes may be missing, and nobody shall take that for an end.
    """
    ended = False
    near, far = _direct(one), _direct(other)
    try:
        left = await _undisturbed(near, far) if isinstance(near, Tcp) and isinstance(far, Feeding) else b""
        if left is None:
            await _copy(other, one)
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_copy, one, other, left)
                await _copy(other, one)
        ended = True
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        for stream, direct in ((one, near), (other, far)):
            if not ended:
                await reset(stream)
            elif direct is not None:
                direct.close()
            else:
                await stream.aclose()


async def _undisturbed(tcp: Tcp, link: Feeding) -> bytes | None:
    """Both directions in this one task, as far as that goes. None when `tcp` ended; else what of it is to be sent first.

    It goes as long as the socket takes what comes by the link, and the link what comes by the socket: most calls are short.
    """
    left = b""
    link.feed(tcp, tcp.disturb)
    try:
        left = await tcp.forward(link.take)
    except trio.ClosedResourceError:
        if not tcp.disturbed:
            raise
    finally:
        link.keep()
    if left or tcp.disturbed:
        return left
    link.end()
    return None


async def say(stream: HalfCloseableStream, data: bytes, *, answered: bool = False) -> None:
    """Send a few bytes; where they can leave at once they do, and nobody else runs in between.

    Those that are `answered` soon, on the way back, travel with the answer where the peer has spoken first.
    """
    direct = _direct(stream)
    if direct is not None:
        take = direct.take_soon if answered and isinstance(direct, Feeding) and direct.spoken_to else direct.take
        data = data[take((data,)) :]
    if data:
        await stream.send_all(data)


async def reset(stream: HalfCloseableStream) -> None:
    """Close at once and let the peer know that it was no orderly end. Nothing happens when it is closed already."""
    direct = _direct(stream)
    if direct is not None:
        direct.abort()
        return
    with trio.CancelScope(shield=True) as at_once:  # shielded, so that a cancelled caller gets to close its second stream
        at_once.cancel()
        await stream.aclose()


async def _copy(source: HalfCloseableStream, sink: HalfCloseableStream, left: bytes = b"") -> None:
    """`left`, then what comes until `source` ends; that is passed on."""
    near, far = _direct(source), _direct(sink)
    if left:
        await sink.send_all(left)
    if near is None or far is None:
        while data := await source.receive_some(READ):
            await sink.send_all(data)
        await sink.send_eof()
        return
    while left := await near.forward(far.take):
        await sink.send_all(left)
    far.end()


def _direct(stream: HalfCloseableStream) -> Direct | None:
    if type(stream) is trio.SocketStream:  # which is final; isinstance() of an abstract class takes longer than the rest
        return Tcp(stream)
    return stream if isinstance(stream, Direct) else None
