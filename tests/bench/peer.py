"""What the `call` benchmark talks to, and what talks to it: `peer.py serve HOST PORT`, `peer.py measure HOST PORT`.

The client's first byte asks for one of two things: S, a stream of STREAM_BYTES; E, an echo of whatever follows.
`measure` prints one JSON object: stream_mb_s, rtt_p50_us, rtt_p99_us. It needs nothing but Python.
"""

import json
import socket
import socketserver
import sys
import time

STREAM_BYTES = 100_000_000
PIECE = bytes(64 << 10)
REQUESTS = 1000
REQUEST = bytes(200)


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.request.recv(1) == b"S":
            for _ in range(STREAM_BYTES // len(PIECE)):
                self.request.sendall(PIECE)
            self.request.sendall(PIECE[: STREAM_BYTES % len(PIECE)])
        else:
            while data := self.request.recv(len(PIECE)):
                self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


def stream(address: tuple[str, int]) -> float:
    """MB/s of one stream."""
    with socket.create_connection(address, 60) as connection:
        began = time.perf_counter()
        connection.sendall(b"S")
        received = 0
        while data := connection.recv(1 << 20):
            received += len(data)
        seconds = time.perf_counter() - began
    if received != STREAM_BYTES:
        raise SystemExit(f"the stream ended after {received} of {STREAM_BYTES} bytes")
    return received / 1e6 / seconds


def round_trips(address: tuple[str, int]) -> list[float]:
    """The times of REQUESTS requests one after the other on one connection, in microseconds, in ascending order."""
    times = []
    with socket.create_connection(address, 60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"E")
        for _ in range(REQUESTS):
            began = time.perf_counter()
            connection.sendall(REQUEST)
            left = len(REQUEST)
            while left:
                data = connection.recv(left)
                if not data:
                    raise SystemExit("the connection ended early")
                left -= len(data)
            times.append((time.perf_counter() - began) * 1e6)
    return sorted(times)


def main(command: str, host: str, port: str) -> None:
    address = (host, int(port))
    if command == "serve":
        Server(address, Handler).serve_forever()
    times = round_trips(address)
    figures = {"stream_mb_s": stream(address), "rtt_p50_us": times[REQUESTS // 2], "rtt_p99_us": times[REQUESTS * 99 // 100]}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
