"""Both ends of a call: `peer.py serve HOST PORT` answers, each other command asks something and prints one JSON object.

    stream HOST PORT BYTES       seconds, the longest time without a byte, and when it ended (of the machine's monotonic clock)
    echo HOST PORT REQUESTS      the times of requests of REQUEST bytes one after the other on one connection, in us, ascending
    connect HOST PORT SECONDS AT_A_TIME   new connections a second, each with an answered byte
    first HOST PORT SECONDS      seconds since 1970 at which a call was answered first; asks until it is

The first byte of a connection asks for one of two things: S and eight bytes, a stream of so many bytes; E, an echo of
whatever follows. It needs nothing but Python.
"""

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

PIECE = bytes(256 << 10)
REQUEST = bytes(200)
SIZE = 8  # bytes of the length of a stream
SERVED = 64  # connections at a time
ANSWER_S = 60
RETRY_S = 0.01
# For a connection to a proxy of this machine, which takes a millisecond. One that began before the proxy was there would be
# tried again by the kernel after 1, 3 and 7 s, and that would be measured.
FIRST_CONNECT_S = 0.05
TCP = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
Address = tuple[str, int]


def serve(address: Address) -> None:
    """Answer, a thread a connection; all are made beforehand: making one takes longer than a call."""
    listener = socket.create_server(address, backlog=256)
    for _ in range(SERVED):
        threading.Thread(target=answer_all, args=(listener,)).start()


def answer_all(listener: socket.socket) -> None:
    """One connection after the other."""
    while True:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):  # whoever asked may go at any time
            connection.setsockopt(*TCP)
            answer(connection)


def answer(connection: socket.socket) -> None:
    """What is asked for."""
    asked = connection.recv(len(PIECE))
    if asked[:1] == b"S":
        asked += connection.recv(1 + SIZE - len(asked), socket.MSG_WAITALL) if len(asked) <= SIZE else b""
        left = int.from_bytes(asked[1:], "big")
        while left:
            left -= connection.send(memoryview(PIECE)[:left])
    else:
        connection.sendall(asked[1:])
        while data := connection.recv(len(PIECE)):
            connection.sendall(data)


def dial(address: Address, connect_s: float = ANSWER_S) -> socket.socket:
    """A connection that fails when nothing happens for ANSWER_S, or when nobody takes it or what is sent for `connect_s`.

    Python's own timeouts would ask the kernel twice a time.
    """
    connection = socket.socket()
    try:
        for option, seconds in ((socket.SO_RCVTIMEO, ANSWER_S), (socket.SO_SNDTIMEO, connect_s)):
            whole, part = divmod(seconds, 1)
            connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(whole), int(part * 1e6)))
        connection.connect(address)
        connection.setsockopt(*TCP)
    except BaseException:
        connection.close()
        raise
    return connection


def stream(address: Address, size: str) -> dict[str, Any]:
    """One stream of `size` bytes."""
    with dial(address) as connection:
        buffer = bytearray(1 << 20)
        began = last = time.monotonic()
        gap, left = 0.0, int(size)
        connection.sendall(b"S" + left.to_bytes(SIZE, "big"))
        while left:
            received = connection.recv_into(buffer)
            if not received:
                raise SystemExit(f"the stream ended {left} bytes early")
            now = time.monotonic()
            gap, last = max(gap, now - last), now
            left -= received
        return {"seconds": last - began, "gap": gap, "ended": last}


def echo(address: Address, requests: str) -> dict[str, Any]:
    """Round trips on one connection."""
    times = []
    with dial(address) as connection:
        connection.sendall(b"E")
        for _ in range(int(requests)):
            began = time.perf_counter()
            connection.sendall(REQUEST)
            if len(connection.recv(len(REQUEST), socket.MSG_WAITALL)) < len(REQUEST):
                raise SystemExit("the connection ended early")
            times.append((time.perf_counter() - began) * 1e6)
    return {"us": sorted(times)}


def call(address: Address, connect_s: float = ANSWER_S) -> None:
    """A connection, and one byte that comes back."""
    with dial(address, connect_s) as connection:
        connection.sendall(b"Ex")
        if connection.recv(1) != b"x":
            raise ConnectionError("no answer")


def connect(address: Address, seconds: str, at_a_time: str) -> dict[str, Any]:
    """New connections, `at_a_time` of them at any moment."""
    done = [0] * int(at_a_time)
    began = time.perf_counter()
    until = began + float(seconds)

    def caller(number: int) -> None:
        while time.perf_counter() < until:
            call(address)
            done[number] += 1

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(len(done))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"per_s": sum(done) / (time.perf_counter() - began)}


def first(address: Address, seconds: str) -> dict[str, Any]:
    """When the first call was answered."""
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        with suppress(OSError):
            call(address, FIRST_CONNECT_S)
            return {"at": time.time()}
        time.sleep(RETRY_S)
    raise SystemExit(f"no call was answered in {seconds} s")


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "stream": stream, "echo": echo, "connect": connect, "first": first,
}  # fmt: skip


def main(command: str, host: str, port: str, *options: str) -> None:
    address = (host, int(port))
    if command == "serve":
        serve(address)
        return
    sys.stdout.write(json.dumps(COMMANDS[command](address, *options)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
