"""Hostile servers: what a real one says, damaged. Only declared errors come of it, memory stays, and good answers are heard."""

import asyncio
import logging
import resource
import struct
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import yaml
from asyncua.common.utils import NotEnoughData

from edged.device.mapper import PropertyError, Sample, Want
from edged.device.opcua.connection import Connection
from edged.device.opcua.frames import MAX_FRAME, MAX_MESSAGE, MIN_FRAME, Body
from edged.device.opcua.trust import Trust
from edged.errors import EdgedError, ProtocolError, UnreachableError
from tests.device.opcua.wire import PUBLISH, Answers, Server, damaged, damaged_body, nothing_yet, tapped, unharmed

FRAMES = 50_000
GROWTH_KB = 200_000  # more memory than before, at most, at any moment: a message of MAX_MESSAGE takes it
SEED = 7
PATIENCE_S = 60
EXAMPLE = Path(__file__).parents[3] / "packaging" / "examples" / "opcua.yaml"
NODES = {"bool": "BOOLEAN", "int32": "INT", "uint64": "INT", "double": "DOUBLE", "string": "STRING", "bytes": "BYTES"}
NODES |= {"time": "STRING", "text": "STRING", "array": "INT", "none": "INT"}


class Sink:
    """Takes what is heard in the stead of the poller."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.wrong: list[Any] = []

    def put(self, values: Any) -> None:
        self.heard = list(values)
        self.wrong += [what for _, what in values if not isinstance(what, Sample | PropertyError)]

    def fail(self, error: Exception) -> None:
        if not isinstance(error, EdgedError) or not str(error):
            self.wrong.append(error)

    def again(self) -> None: ...


class Talk:
    """All that is said to a server. On the asyncio loop."""

    def __init__(self, opcua: Any, state: Path, port: int) -> None:
        methods = {"multiply": {"objectId": "ns=2;s=boiler", "methodId": "ns=2;s=multiply"}}
        self.sink = Sink()
        address = opcua.address({"url": f"opc.tcp://127.0.0.1:{port}/", "methods": methods, "timeout": 0.5})
        self.connection = Connection(address, Trust(state), self.sink)  # type: ignore[arg-type]
        self.nodes = [opcua.point(type_, {"nodeID": f"ns=2;s={name}"}) for name, type_ in NODES.items()]
        self.setpoint = self.nodes[1]
        self.path = opcua.point("INT", {"browseName": "2:Boiler/2:int16"})
        self.wants = [Want(each, 0.1, Decimal(0)) for each in self.nodes[:6]]

    async def read(self) -> list[Any]:
        return await self.connection.read(self.nodes)

    async def find(self) -> None:
        self.connection._access._nodes.clear()
        await self.connection.read([self.path])

    async def write(self) -> None:
        self.connection._access._types.clear()
        await self.connection.write(self.setpoint, Decimal(-32))

    async def call(self) -> None:
        await self.connection.call("multiply", [Decimal("2.5"), Decimal(4)])

    async def subscribe(self) -> None:
        await self.connection.subscribe([])
        await self.connection.subscribe(self.wants)

    @property
    def broken(self) -> bool:
        return self.connection.lost is not None or self.connection._client.uaclient.protocol is None

    async def everything(self) -> None:
        """All of it, once."""
        await self.connection.open()
        for each in (self.read, self.find, self.write, self.call, self.subscribe):
            await each()

    def works(self, found: list[Any]) -> bool:
        """Whether this was read of the real server."""
        return found[:2] == [Sample(True, found[0].wall), Sample(Decimal(-32), found[1].wall)]

    def ends(self) -> None:
        """The poller has heard of an error that ends a session."""
        self.connection._lose(ConnectionError())


@pytest.fixture
async def recorded(opcua: Any, opcua_server: Any, tmp_path: Path) -> tuple[Talk, Answers]:
    """A conversation, and what the real server said in it."""
    answers = nothing_yet()
    opcua_server.tell("set int32 -32")

    async def conversation() -> None:
        await made.everything()
        while not made.sink.heard:  # noqa: ASYNC110  the first message
            await asyncio.sleep(0.02)
        await made.connection._subscription._republished(1)
        made.ends()
        await made.connection.open()  # the session that is there is gone on with
        await made.connection._client.uaclient.close_session(False)
        made.ends()
        await made.connection.open()  # and what it monitored in a new one
        await made.connection.close()

    async with tapped(opcua_server.port, answers) as port:
        made = Talk(opcua, tmp_path, port)
        await opcua.aio.run(conversation)
    return made, dict(answers)


async def in_memory(server: Server) -> None:
    """From now on this loop's connections go there."""
    asyncio.get_running_loop().create_connection = server.connect  # type: ignore[method-assign,assignment]


def notification(answers: Answers, number: int) -> bytes:
    """A publish response of the real server, as the message of this number."""
    body = next(each for kind, bodies in answers.items() if kind[0] == PUBLISH for each in bodies if len(each) > 100)
    (count,) = struct.unpack_from("<i", body, 32)  # of available numbers, behind the header and the subscription
    at = 37 + 4 * max(0, count)
    return body[:at] + struct.pack("<I", number) + body[at + 4 :]


async def test_fifty_thousand_damaged_frames(
    opcua: Any, recorded: tuple[Talk, Answers], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "asyncua")  # it writes down each
    talk, answers = recorded
    server, random = Server(answers), Random(SEED)
    came: Counter[str] = Counter()
    before = peak()

    def damage(frame: bytes) -> tuple[bytes, bool]:
        came["damaged"] += 1
        if random.random() < 0.9:
            return damaged_body(frame, random), True
        return damaged(frame, random), False

    async def publish() -> None:
        number = talk.connection._subscription._messages._next + random.choice((0, 0, 1, 3))  # some are missing before it
        if server.line is not None and server.line.publish(notification(answers, number)):
            for _ in range(20):  # turns of the loop, until it is taken
                await asyncio.sleep(0)

    async def reopen() -> None:
        talk.ends()
        await talk.connection.open()

    async def fuzz() -> None:
        await in_memory(server)
        await talk.everything()
        ways = (talk.read, talk.read, publish, publish, talk.find, talk.write, talk.call, talk.subscribe, reopen)
        while came["damaged"] < FRAMES:
            server.damage = damage
            try:
                await random.choice(ways)()
            except (UnreachableError, ProtocolError, PropertyError) as error:
                assert str(error)
                came[type(error).__name__] += 1
            server.damage = unharmed
            if talk.broken:
                talk.ends()
                await talk.connection.open()
                assert talk.works(await talk.read())

    await opcua.aio.run(fuzz)
    assert talk.sink.wrong == []
    assert min(came[each.__name__] for each in (UnreachableError, ProtocolError, PropertyError)) > 0
    assert peak() - before < GROWTH_KB


async def test_a_connection_that_ends_at_each_byte(
    opcua: Any, recorded: tuple[Talk, Answers], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "asyncua")
    talk, answers = recorded
    server = Server(answers)
    left = 0

    def cut(frame: bytes) -> tuple[bytes, bool]:
        nonlocal left
        sent, left = frame[:left], left - len(frame)
        return sent, left > 0

    async def converse() -> None:
        talk.ends()
        await talk.everything()

    async def cuts() -> int:
        nonlocal left
        await in_memory(server)
        for number in range(100_000):
            server.damage, left = cut, number
            try:
                await converse()
            except (UnreachableError, ProtocolError):
                continue
            return number
        return 0

    assert await opcua.aio.run(cuts) > 1000  # bytes, until it was whole
    assert talk.sink.wrong == []


def peak() -> int:
    """The most memory that this process has had, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_chunks(frame: bytes) -> bytes:
    """A message that never ends: sixteen times what is taken."""
    (number,) = struct.unpack_from("<I", frame, 16)
    made = bytearray()
    for chunk in range(16 * MAX_MESSAGE // MIN_FRAME):
        made += struct.pack("<4sI", b"MSGC", MIN_FRAME) + frame[8:16] + struct.pack("<I", number + chunk) + frame[20:24]
        made += bytes(MIN_FRAME - 24)
    return bytes(made)


def holding(variant: bytes) -> Callable[[bytes], bytes]:
    """A read that finds this in its first node."""
    value = b"\1\0\0\0\1" + variant
    return lambda frame: frame[:4] + struct.pack("<I", 52 + len(value)) + frame[8:52] + value


TWO_BILLION = b"\xff\xff\xff\x7f"
BOMBS = {
    "a frame of 4 GB": (lambda frame: frame[:4] + b"\xff\xff\xff\xff" + frame[8:], "sends a frame of 4294967295 bytes"),
    "a frame of nothing": (lambda frame: frame[:4] + bytes(4) + frame[8:], "sends a frame of 0 bytes"),
    "a message without end": (in_chunks, "BadRequestTooLarge"),
    "nothing, 2 billion times": (holding(b"\x80" + TWO_BILLION), "sends an array of nothing"),
    "a text that is read backwards": (holding(b"\x8c" + TWO_BILLION + b"\xfc\xff\xff\xff"), "-4 bytes are wanted"),
    "a number, 2 billion times": (holding(b"\x86" + TWO_BILLION), "bytes are wanted"),
    "2 billion dimensions": (holding(b"\xc6" + b"\0\0\0\0" + TWO_BILLION), "bytes are wanted"),
    "2 billion texts in one byte": (holding(b"\x8c" + TWO_BILLION), "4 bytes are wanted of 0"),
}


@pytest.mark.parametrize("what", BOMBS)
async def test_a_few_bytes_that_would_take_all_memory(
    opcua: Any, recorded: tuple[Talk, Answers], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "asyncua")
    talk, answers = recorded
    server = Server(answers)
    make, words = BOMBS[what]

    async def ask() -> bool:
        await in_memory(server)
        await talk.everything()
        server.damage = lambda frame: (make(frame), True)
        try:
            with pytest.raises((UnreachableError, ProtocolError), match=words):
                await talk.read()
        finally:
            server.damage = unharmed
        await talk.connection.open()
        return talk.works(await talk.read())

    before = peak()
    assert await opcua.aio.run(ask)
    assert peak() - before < GROWTH_KB


async def test_a_server_that_says_a_byte_at_a_time(opcua: Any, hostile: Any) -> None:
    async def drips(stream: Any, _request: bytes) -> None:
        for each in b"ACKF" + struct.pack("<6I", 28, 0, MAX_FRAME, MAX_FRAME, 0, 0):
            await stream.send_all(bytes([each]))
            await trio.sleep(0.05)

    async with hostile(drips) as port:
        with pytest.raises(UnreachableError, match=r"does not answer within 0\.3 s"):
            await opcua.connect(opcua.address({"url": f"opc.tcp://127.0.0.1:{port}", "timeout": 0.3}))


async def test_a_server_that_takes_too_little(opcua: Any, hostile: Any) -> None:
    async def answers(stream: Any, _request: bytes) -> None:
        await stream.send_all(b"ACKF" + struct.pack("<6I", 28, 0, 64, 64, 0, 0))

    async with hostile(answers) as port:
        with pytest.raises((UnreachableError, ProtocolError)):
            await opcua.connect(opcua.address({"url": f"opc.tcp://127.0.0.1:{port}", "timeout": 20}))


def test_a_body_is_not_read_backwards() -> None:
    body = Body(b"abcdef")
    assert (body.read(2), body.copy(3).read(3), len(body)) == (b"ab", b"cde", 4)
    body.skip(1)
    for size in (-1, 4):
        with pytest.raises(NotEnoughData):
            body.read(size)
    assert body.read(3) == b"def"


async def test_a_device_is_well_again_once_its_server_is(
    fleet_of_devices: Any, opcua_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edged.device.poller.RETRY_CAP_S", 0.1)
    monkeypatch.setattr("edged.device.poller.RETRY_FIRST_S", 0.05)
    caplog.set_level(logging.CRITICAL + 1, "asyncua")
    fleet, random = fleet_of_devices, Random(SEED)
    count, hostile = 0, True

    def damage(frame: bytes) -> tuple[bytes, bool]:
        nonlocal count
        if not hostile or random.random() < 0.6:
            return frame, True
        count += 1
        return (damaged_body(frame, random), True) if random.random() < 0.5 else (frame[: random.randrange(len(frame))], False)

    opcua_server.tell("set double 0.1")
    async with tapped(opcua_server.port, nothing_yet(), damage) as port, trio.open_nursery() as nursery:
        model, device = yaml.safe_load_all(EXAMPLE.read_text())
        device["spec"]["protocol"]["configData"] |= {"url": f"opc.tcp://127.0.0.1:{port}/", "timeout": 1}
        await fleet.apply(model)
        await fleet.apply(device)
        await nursery.start(fleet.devices().run)
        with trio.fail_after(PATIENCE_S):
            while count < 40:  # noqa: ASYNC110  of frames on their way
                await trio.sleep(0.02)
        hostile = False
        opcua_server.tell("set double 7.25")
        await fleet.until(lambda: fleet.value("temperature", "boiler-7") == "7.25")
        await fleet.until(lambda: fleet.status("boiler-7").state == "ok")
        nursery.cancel_scope.cancel()
    opcua_server.tell("set double 0.1")
    opcua_server.tell("set float 21.6")
