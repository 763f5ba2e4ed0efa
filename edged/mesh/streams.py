"""Two byte streams become one connection: dial, copy both ways, and pass on how each side ended."""

import os
import socket
import struct
from contextlib import suppress

import trio
from trio.abc import HalfCloseableStream

from edged.errors import UnreachableError

READ = 64 << 10  # bytes read at a time and held while the other side does not take them: all that one direction buffers
CONNECT_S = 3.0  # a pod is on this node: it takes the connection at once, or after one lost packet, or not at all
LISTEN = 256  # connections that the kernel holds until they are taken; more are tried again by their clients
IDLE_S, PROBE_S, PROBES = 60, 15, 4  # a client that vanished without a word gives its connection back after 2 minutes


async def listen(address: str, port: int) -> trio.SocketListener:
    """A listener at exactly `address` and `port` (0: any that is free). OSError when it may not be had."""
    (listener,) = await trio.open_tcp_listeners(port, host=address, backlog=LISTEN)
    return listener


async def connect(address: str, port: int) -> trio.SocketStream:
    """A TCP connection to `address`, an IPv4 address. UnreachableError when it is refused or takes over CONNECT_S."""
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        with trio.fail_after(CONNECT_S):
            await sock.connect((address, port))
    except (OSError, trio.TooSlowError) as error:
        sock.close()
        why = f"no answer in {CONNECT_S:g} s" if isinstance(error, trio.TooSlowError) else os.strerror(error.errno or 0)
        raise UnreachableError(f"{address}:{port}: {why}") from error
    except BaseException:
        sock.close()
        raise
    return keep_alive(trio.SocketStream(sock))  # which sets TCP_NODELAY


def keep_alive(stream: trio.SocketStream) -> trio.SocketStream:
    """Have the kernel ask an idle peer whether it is still there. Returns `stream`."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, IDLE_S), (socket.TCP_KEEPINTVL, PROBE_S), (socket.TCP_KEEPCNT, PROBES)):
        stream.setsockopt(socket.IPPROTO_TCP, option, value)
    return stream


async def splice(one: HalfCloseableStream, other: HalfCloseableStream) -> None:
    """Copy both ways until both sides have ended, and close both streams.

    An end of one direction is passed on as such and the other direction goes on. A side that breaks, and a cancellation,
    resets both: bytes may be missing, and nobody shall take that for an end.
    """
    async with one, other:
        ended = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_copy, one, other)
                nursery.start_soon(_copy, other, one)
            ended = True
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if not ended:
                await reset(one)
                await reset(other)


async def reset(stream: HalfCloseableStream) -> None:
    """Close at once and let the peer know that it was no orderly end: a TCP connection with RST."""
    if isinstance(stream, trio.SocketStream):
        with suppress(OSError):  # it is closed already
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with trio.CancelScope(shield=True) as at_once:  # shielded, so that a cancelled caller gets to close its second stream
        at_once.cancel()
        await stream.aclose()


async def _copy(source: HalfCloseableStream, sink: HalfCloseableStream) -> None:
    while data := await source.receive_some(READ):
        await sink.send_all(data)
    await sink.send_eof()
