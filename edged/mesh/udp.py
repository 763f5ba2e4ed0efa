"""UDP sockets of the mesh: read in bursts, written without waiting, as datagrams may be lost."""

import socket
from collections.abc import Callable
from typing import Any

import trio

from edged.errors import UnreachableError

BURST = 64  # datagrams read before other tasks get their turn
READ = 65535  # bytes: more than any datagram has
RECEIVE_BUFFER = 1 << 20  # bytes that wait for their turn; the kernel gives 208 KiB unasked, three of the largest datagrams


def bound(address: str, port: int) -> socket.socket:
    """A socket at `address` and `port` (0: any that is free). OSError when it may not be had."""
    return _made(lambda sock: sock.bind((address, port)))


def connected(address: str, port: int, source: str = "") -> socket.socket:
    """A socket to a pod, which hears nobody else; from `source`, where that is given. UnreachableError without a way there."""

    def placed(sock: socket.socket) -> None:
        if source:
            sock.bind((source, 0))
        sock.connect((address, port))

    try:
        return _made(placed)
    except OSError as error:
        raise UnreachableError(f"{address}:{port}/UDP: {error.strerror}") from error


def _made(placed: Callable[[socket.socket], None]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        placed(sock)
    except BaseException:
        sock.close()
        raise
    return sock


async def receive(sock: socket.socket, handle: Callable[[bytes, Any], None]) -> None:
    """Give each datagram and its sender to `handle`, until the socket is closed (by `close`) or the peer refuses.

    A socket that is not connected never hears of refusals that matter: they are about what was sent before, to somebody.
    """
    refused: tuple[type[OSError], ...] = (ConnectionRefusedError,) if _is_connected(sock) else ()
    while sock.fileno() >= 0:
        try:
            await trio.lowlevel.wait_readable(sock)
            for _ in range(BURST):
                handle(*sock.recvfrom(READ))
        except BlockingIOError:
            continue
        except trio.ClosedResourceError:
            return
        except OSError as error:
            if sock.fileno() < 0 or isinstance(error, refused):
                return


def close(sock: socket.socket) -> None:
    """Close a socket, and end the task that reads it."""
    if sock.fileno() >= 0:
        trio.lowlevel.notify_closing(sock)
        sock.close()


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
