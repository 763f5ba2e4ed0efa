"""An OPC UA server in memory, for hundreds of thousands of answers: it says what a real one said, and damages it at will.

`tapped` writes down what a real server answers, by the kind of request. `Memory` is a transport of asyncio that answers
so; it is put in the place of the socket, so that all above it is real: the library's channel, and ours.
"""

import asyncio
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import trio

PUBLISH = 826  # the NodeId of its encoding (Part 6, A.3)
HELLO = (0, 0)
Kind = tuple[int, int]  # of a request: the NodeId of its encoding, and its size
Answers = dict[Kind, list[bytes]]  # bodies, but of HELLO and of what opens a channel whole frames
Damage = Callable[[bytes], tuple[bytes, bool]]  # of a frame: what is sent instead, and whether the connection lives on
HEAD = struct.Struct("<4sI")


def frames(data: bytes) -> list[bytes]:
    """Whole frames, one by one."""
    found = []
    while data:
        (_, size) = HEAD.unpack_from(data)
        found.append(data[:size])
        data = data[size:]
    return found


def body_at(frame: bytes) -> int:
    """Where the body begins, behind the request's id."""
    if frame[:3] != b"OPN":
        return 24
    at = 12
    for _ in range(3):  # policy, certificate, thumbprint
        (size,) = struct.unpack_from("<i", frame, at)
        at += 4 + max(0, size)
    return at + 8


def request_of(frame: bytes) -> tuple[Kind, bytes]:
    """The kind of a request, and its id."""
    at = body_at(frame)
    (encoding,) = struct.unpack_from("<H", frame, at + 2)
    return (encoding, 0 if encoding == PUBLISH else len(frame)), frame[at - 4 : at]


def unharmed(frame: bytes) -> tuple[bytes, bool]:
    """A good server."""
    return frame, True


async def pump(source: trio.SocketStream, sink: trio.SocketStream, damage: Damage) -> None:
    """Pass on frame by frame, until the source or the damage ends it."""
    held, goes_on = b"", True
    async for data in source:
        held += data
        while goes_on and len(held) >= HEAD.size and len(held) >= (size := HEAD.unpack_from(held)[1]):
            made, goes_on = damage(held[:size])
            await sink.send_all(made)
            held = held[size:]
        if not goes_on:
            break
    await sink.aclose()


@asynccontextmanager
async def tapped(port: int, answers: Answers, damage: Damage = unharmed) -> AsyncIterator[int]:
    """A way to the server at `port`; what it answers is written down, then damaged."""

    async def talk(client: trio.SocketStream) -> None:
        kinds: dict[bytes, Kind] = {}

        def asked(frame: bytes) -> tuple[bytes, bool]:
            if frame[:3] in {b"MSG", b"OPN"}:
                kind, id_ = request_of(frame)
                kinds[id_] = kind
            return frame, True

        def answered(frame: bytes) -> tuple[bytes, bool]:
            if frame[:3] == b"ACK":
                answers[HELLO].append(frame)
            elif frame[:3] in {b"MSG", b"OPN"}:
                at = body_at(frame)
                answers[kinds[frame[at - 4 : at]]].append(frame if frame[:3] == b"OPN" else frame[at:])
            return damage(frame)

        server = await trio.open_tcp_stream("127.0.0.1", port)
        try:
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(pump, client, server, asked)
                nursery.start_soon(pump, server, client, answered)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class Server:
    """It answers what is in `answers`, damaged by `damage`."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.strange = [each for bodies in answers.values() for each in bodies]  # to what nobody asked the real one
        self.damage: Damage = unharmed
        self.line: Memory | None = None

    async def connect(self, factory: Callable[[], Any], *_: Any, **__: Any) -> tuple[Any, Any]:
        """In the stead of the loop's `create_connection`."""
        protocol = factory()
        self.line = Memory(self, protocol)
        protocol.connection_made(self.line)
        return self.line, protocol


class Memory(asyncio.Transport):
    """One connection to it."""

    def __init__(self, server: Server, protocol: Any) -> None:
        super().__init__()
        self._server, self._protocol = server, protocol
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._number = 0
        self._waiting: list[bytes] = []  # ids of requests to publish

    def write(self, data: Any) -> None:
        for frame in frames(bytes(data)):
            self._answer(frame)

    def _answer(self, frame: bytes) -> None:
        answers = self._server.answers
        if frame[:3] == b"HEL":
            self.send(answers[HELLO][0])
            return
        if frame[:3] not in {b"MSG", b"OPN"}:
            return
        kind, id_ = request_of(frame)
        if frame[:3] == b"OPN":
            opened = answers[kind][0]
            at = body_at(opened)
            self._number = struct.unpack_from("<I", opened, at - 8)[0]
            self.send(opened[: at - 4] + id_ + opened[at:])
        elif kind[0] == PUBLISH:
            self._waiting.append(id_)
        else:
            alike = [bodies for known, bodies in answers.items() if known[0] == kind[0]]
            self.message(id_, (answers.get(kind) or (alike or [self._server.strange])[0])[-1])

    def message(self, id_: bytes, body: bytes) -> None:
        """An answer to the request of this id."""
        self._number += 1
        token = self._protocol._connection.security_token  # as the client has it
        head = struct.pack("<4sIIII", b"MSGF", 24 + len(body), token.ChannelId, token.TokenId, self._number)
        self.send(head + id_ + body)

    def publish(self, body: bytes) -> bool:
        """Whether there was a request to be answered so."""
        if not self._waiting:
            return False
        self.message(self._waiting.pop(0), body)
        return True

    def send(self, frame: bytes) -> None:
        """One frame, damaged or not."""
        data, goes_on = self._server.damage(frame)
        self._loop.call_soon(self._protocol_gets, data, goes_on)

    def _protocol_gets(self, data: bytes, goes_on: bool) -> None:
        if not self._closing:
            if data:
                self._protocol.data_received(data)
            if not goes_on:
                self.abort()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)


def damaged_body(frame: bytes, random: Random) -> bytes:
    """A frame whose head is right, but not what it says."""
    at = body_at(frame) if frame[:3] in {b"MSG", b"OPN"} else HEAD.size
    body = damaged(frame[at:], random)
    return frame[:4] + struct.pack("<I", at + len(body)) + frame[8:at] + body


SIZES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)


def damaged(data: bytes, random: Random) -> bytes:
    """Bits flipped, bytes cut out, doubled, drawn or put in, and numbers that are at the edge."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at, kind = random.randrange(len(made) + 1), random.randrange(6)
        if kind == 0 and at < len(made):
            made[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at + 4 <= len(made):
            made[at : at + 4] = struct.pack("<I", random.choice(SIZES))
        elif kind == 2:
            del made[at : at + random.randint(1, 30)]
        elif kind == 3:
            made[at:at] = made[at : at + random.randint(1, 30)]
        elif kind == 4 and at < len(made):
            made[at] = random.randrange(256)
        else:
            made[at:at] = random.randbytes(random.randint(1, 8))
    return bytes(made)


def nothing_yet() -> Answers:
    return defaultdict(list)
