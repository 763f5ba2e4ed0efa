"""Programs as people run them, both ends: `programs.py serve HOST` answers, each other command asks and prints what it found.

    grpc HOST                 unary calls and a server's stream
    chat HOST                 a stream both ways: each line of the input is sent, what comes back is a line of the output
    websocket HOST            texts and bytes of all sizes, a ping, the close
    http HOST                 one kept connection: request by request, then many without waiting for the answers
    bulk HOST                 bytes both ways at once; we end our direction, and go on reading

gRPC is at port GRPC, and so on; at TFTP files are to be had of as many bytes as their name says, by UDP.
"""

import hashlib
import http.client
import http.server
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

GRPC, HTTP, WEBSOCKET, BULK, TFTP = range(9001, 9006)
ANSWER_S = 60.0
CALLS, MESSAGES, MESSAGE = 200, 500, bytes(range(250)) * 40
SIZES = (0, 1, 125, 126, 65_535, 65_536, 300_000)  # of WebSocket messages: where its frames change (RFC 6455, 5.2), and more
PAGES = (0, 1, 1000, 100_000)  # bytes of HTTP answers
PIPELINED = 40
SENT = 30_000_000  # bytes of the bulk, each way


def pattern(size: int) -> bytes:
    return Random(size).randbytes(size)


# ---- gRPC


def count(request: bytes, _context: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield number.to_bytes(4, "big") + MESSAGE


def chat(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
    for request in requests:
        yield request.upper()
    yield b"bye"


def serve_grpc(host: str) -> Any:
    import grpc  # noqa: PLC0415  the other commands need none of it

    handlers = {
        "Upper": grpc.unary_unary_rpc_method_handler(lambda request, _context: request.upper()),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Echo", handlers),))
    server.add_insecure_port(f"{host}:{GRPC}")
    server.start()
    return server


def ask_grpc(host: str) -> dict[str, Any]:
    import grpc  # noqa: PLC0415

    with grpc.insecure_channel(f"{host}:{GRPC}") as channel:
        upper = channel.unary_unary("/lab.Echo/Upper")
        answers = [upper(b"call %d" % number, timeout=ANSWER_S) for number in range(CALLS)]
        streamed = list(channel.unary_stream("/lab.Echo/Count")(b"%d" % MESSAGES, timeout=ANSWER_S))
        try:
            channel.unary_unary("/lab.Echo/Nothing")(b"", timeout=ANSWER_S)
            refused = ""
        except grpc.RpcError as error:
            refused = error.code().name  # type: ignore[attr-defined]
    return {
        "calls": answers == [b"CALL %d" % number for number in range(CALLS)],
        "stream": streamed == list(count(b"%d" % MESSAGES, None)),
        "refused": refused,
    }


def ask_chat(host: str) -> dict[str, Any]:
    import grpc  # noqa: PLC0415

    with grpc.insecure_channel(f"{host}:{GRPC}") as channel:
        lines = (line.strip().encode() for line in sys.stdin)
        for answer in channel.stream_stream("/lab.Echo/Chat")(lines):
            sys.stdout.write(answer.decode() + "\n")
            sys.stdout.flush()
    return {"ended": True}


# ---- HTTP


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = pattern(int(self.path.strip("/")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 10_000):
            piece = body[at : at + 10_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


def ask_http(host: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(host, HTTP, timeout=ANSWER_S)
    connection.connect()
    ours = connection.sock.getsockname()
    kept = True
    for number in range(40):
        size = PAGES[number % len(PAGES)]
        if number % 5:
            connection.request("GET", f"/{size}")
        else:
            connection.request("POST", "/", pattern(size))
        kept = kept and connection.getresponse().read() == pattern(size) and connection.sock.getsockname() == ours
    connection.close()
    return {"kept": kept, "pipelined": pipelined(host)}


def pipelined(host: str) -> bool:
    """Whether answers to requests that were all sent at once come whole and in order."""
    sizes = [PAGES[number % len(PAGES)] for number in range(PIPELINED)]
    with socket.create_connection((host, HTTP), ANSWER_S) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % size for size in sizes))
        for size in sizes:
            while answers.readline() != b"\r\n":
                pass
            if answers.read(size) != pattern(size):
                return False
    return True


# ---- WebSocket


async def answer(request: Any) -> None:
    from trio_websocket import ConnectionClosed  # noqa: PLC0415

    connection = await request.accept()
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        return


def serve_websocket(host: str) -> None:
    import trio  # noqa: PLC0415
    from trio_websocket import serve_websocket  # noqa: PLC0415

    trio.run(serve_websocket, answer, host, WEBSOCKET, None)


def ask_websocket(host: str) -> dict[str, Any]:
    import trio  # noqa: PLC0415
    from trio_websocket import open_websocket  # noqa: PLC0415

    async def ask() -> dict[str, Any]:
        with trio.fail_after(ANSWER_S):
            async with open_websocket(host, WEBSOCKET, "/", use_ssl=False) as connection:
                exact = True
                for size in SIZES:
                    for message in (pattern(size), "ü" * size):
                        await connection.send_message(message)
                        exact = exact and await connection.get_message() == message
                await connection.ping()
        return {"exact": exact, "closed": connection.closed.code}

    return trio.run(ask)


# ---- TFTP (RFC 1350), but all from one port: what a client of a service hears comes from where it asked

BLOCK = 512  # bytes of a block; a shorter one is the last
READ, DATA, ACKNOWLEDGED = 1, 3, 4


def serve_tftp(host: str) -> None:
    wanted: dict[Any, bytes] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, TFTP))
        while True:
            request, client = server.recvfrom(1000)
            kind, number = int.from_bytes(request[:2], "big"), int.from_bytes(request[2:4], "big")
            if kind == READ:
                wanted[client], number = pattern(int(request[2:].partition(b"\0")[0])), 0
            if kind in (READ, ACKNOWLEDGED) and number * BLOCK <= len(wanted[client]):
                block = wanted[client][number * BLOCK : (number + 1) * BLOCK]
                server.sendto(DATA.to_bytes(2, "big") + (number + 1).to_bytes(2, "big") + block, client)


# ---- bulk


def serve_bulk(host: str) -> None:
    with socket.create_server((host, BULK)) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=exchange, args=(connection, True), daemon=True).start()


def exchange(connection: socket.socket, last: bool) -> str:
    """Send SENT bytes and receive what comes, both at once. Who is not `last` ends its direction, and is told what arrived."""
    data = pattern(SENT)
    received = hashlib.sha256()
    with connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        left = SENT
        while left and (piece := connection.recv(min(left, 1 << 20))):
            received.update(piece)
            left -= len(piece)
        sender.join()
        if last:
            while connection.recv(1):
                pass
            connection.sendall(received.hexdigest().encode())
            return received.hexdigest()
        connection.shutdown(socket.SHUT_WR)
        told = b"".join(iter(lambda: connection.recv(100), b"")).decode()
        wanted = hashlib.sha256(data).hexdigest()
        return "exact" if {told, received.hexdigest()} == {wanted} else "damaged"


def ask_bulk(host: str) -> dict[str, Any]:
    return {"bulk": exchange(socket.create_connection((host, BULK), ANSWER_S), last=False)}


def serve(host: str) -> dict[str, Any]:
    pages = http.server.ThreadingHTTPServer((host, HTTP), Pages)
    for service in (pages.serve_forever, lambda: serve_websocket(host), lambda: serve_bulk(host), lambda: serve_tftp(host)):
        threading.Thread(target=service, daemon=True).start()
    serve_grpc(host).wait_for_termination()
    return {}


COMMANDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "serve": serve,
    "grpc": ask_grpc,
    "chat": ask_chat,
    "websocket": ask_websocket,
    "http": ask_http,
    "bulk": ask_bulk,
}

if __name__ == "__main__":
    found = COMMANDS[sys.argv[1]](sys.argv[2])
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # gRPC's threads take their time
