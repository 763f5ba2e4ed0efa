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
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

PIECE = bytes(256 << 10)
REQUEST = bytes(200)
ANSWER_S = 60.0
RETRY_S = 0.01
TCP = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
Address = tuple[str, int]


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection = self.request
        connection.setsockopt(*TCP)
        with suppress(ConnectionError):  # whoever asked may go at any time
            if connection.recv(1) == b"S":
                left = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big")
                while left:
                    left -= connection.send(memoryview(PIECE)[:left])
            else:
                while data := connection.recv(len(PIECE)):
                    connection.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 256


def stream(address: Address, size: str) -> dict[str, Any]:
    """One stream of `size` bytes."""
    with socket.create_connection(address, ANSWER_S) as connection:
        buffer = bytearray(1 << 20)
        began = last = time.monotonic()
        gap, left = 0.0, int(size)
        connection.sendall(b"S" + left.to_bytes(8, "big"))
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
    with socket.create_connection(address, ANSWER_S) as connection:
        connection.setsockopt(*TCP)
        connection.sendall(b"E")
        for _ in range(int(requests)):
            began = time.perf_counter()
            connection.sendall(REQUEST)
            if len(connection.recv(len(REQUEST), socket.MSG_WAITALL)) < len(REQUEST):
                raise SystemExit("the connection ended early")
            times.append((time.perf_counter() - began) * 1e6)
    return {"us": sorted(times)}


def call(address: Address) -> None:
    """A connection, and one byte that comes back."""
    with socket.create_connection(address, ANSWER_S) as connection:
        connection.setsockopt(*TCP)
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
            call(address)
            return {"at": time.time()}
        time.sleep(RETRY_S)
    raise SystemExit(f"no call was answered in {seconds} s")


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "stream": stream, "echo": echo, "connect": connect, "first": first,
}  # fmt: skip


def main(command: str, host: str, port: str, *options: str) -> None:
    address = (host, int(port))
    if command == "serve":
        Server(address, Handler).serve_forever()
    sys.stdout.write(json.dumps(COMMANDS[command](address, *options)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
