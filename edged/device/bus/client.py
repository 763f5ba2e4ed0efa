"""A connection to an MQTT broker on trio: TCP or TLS, and every wait bounded. It does not connect again: its user does."""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from edged.device.bus.packets import Message
from edged.device.bus.session import (
    KEEPALIVE_S,
    MAX_INFLIGHT,
    MAX_UNREAD,
    Acknowledged,
    Event,
    Lost,
    MqttSession,
    Refused,
    Subscribed,
    Welcomed,
)
from edged.errors import DeniedError, ProtocolError, UnreachableError
from edged.kit.address import Address
from edged.kit.tcp import Stream, open_stream, why

CONNECT_S = 10.0  # for TCP, TLS and the broker's welcome, together
ACK_S = 10.0  # for the broker to take a publish, a subscription, or the next bytes: one that hangs is given up after this
WATCH_S = KEEPALIVE_S / 10  # how often it is looked whether the broker hangs
CLOSE_S = 1.0  # for the goodbye
RECEIVE = 64 << 10  # bytes asked of the stream at once


class Broker(NamedTuple):
    """Where a broker is, and as whom to speak to it. `tls` None: in the clear."""

    address: Address
    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        return f"the MQTT broker at {self.address}"


class Publish(NamedTuple):
    """What is to be published. `payload` is at most 256 MB, and the broker may take less."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@asynccontextmanager
async def connected(
    broker: Broker, client_id: str, *, listens: bool = False, will: Message | None = None
) -> AsyncIterator["MqttConnection"]:
    """A connection on which we are welcome. UnreachableError when it cannot be had, DeniedError when the broker refuses us.

    Inside, its calls raise UnreachableError once it is broken. `listens`, `will`: see MqttSession.
    """
    try:
        with trio.fail_after(CONNECT_S):
            stream = await open_stream(broker.address, broker.tls)
    except trio.TooSlowError as error:
        raise UnreachableError(f"{broker} cannot be reached: no answer within {CONNECT_S:g} s") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise UnreachableError(f"{broker} cannot be reached: {why(error)}") from error
    session = MqttSession(client_id, broker.user, broker.password, listens=listens, will=will)
    connection = MqttConnection(broker, stream, session)
    raised: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            try:
                await connection.welcomed()
                yield connection
                await connection.goodbye()
            except Exception as error:  # raised below, bare: the nursery is nothing that a user knows of
                raised = error
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
    if raised is not None:
        raise raised


class _Asked:
    """Publishes, or a subscription, that the broker is to acknowledge."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.done = trio.Event()


class MqttConnection:
    """What may be said on a connection, by any number of tasks, and `receive`, by one. Made by `connected`."""

    def __init__(self, broker: Broker, stream: Stream, session: MqttSession) -> None:
        self._broker, self._stream, self._session = broker, stream, session
        self._socket = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
        self._lost = self._refused = ""
        self._scope = trio.CancelScope()
        self._welcome = trio.Event()
        self._slots = trio.Semaphore(MAX_INFLIGHT)
        self._asked: dict[int, tuple[_Asked, float]] = {}  # what is not acknowledged, the oldest first, and since when
        self._granted: dict[int, Sequence[bool]] = {}
        self._messages: deque[Message] = deque()
        self._some, self._room, self._to_write = trio.Event(), trio.Event(), trio.Event()
        self._to_write.set()
        self._ended = trio.Event()

    async def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        """Publish one message, as `publish_all`."""
        await self.publish_all([Publish(topic, payload, qos, retain)])

    async def publish_all(self, publishes: Sequence[Publish]) -> None:
        """Publish in this order, MAX_INFLIGHT at a time; returns when the broker has all (of QoS 0: when they are written).

        UnreachableError: which of them it has is not known. ValueError: a topic that cannot be published to.
        """
        asked = _Asked(len(publishes))
        for each in publishes:
            try:
                self._slots.acquire_nowait()
            except trio.WouldBlock:  # else each message would take a turn of the loop
                await self._slots.acquire()
            try:
                self._check()
                mid = self._session.publish(each.topic, each.payload, each.qos, retain=each.retain)
            except BaseException:
                self._slots.release()
                raise
            self._asked[mid] = (asked, trio.current_time())
            self._to_write.set()
        if publishes:
            await asked.done.wait()
            if asked.left:
                self._check()

    async def subscribe(self, filters: Sequence[str], qos: int = 1) -> list[str]:
        """Subscribe; the filters that the broker does not grant. UnreachableError. ValueError: no filter."""
        self._check()
        mid = self._session.subscribe(filters, qos)
        asked = _Asked(1)
        self._asked[mid] = (asked, trio.current_time())
        self._to_write.set()
        await asked.done.wait()
        if asked.left:
            self._check()
        return [each for each, granted in zip(filters, self._granted.pop(mid), strict=True) if not granted]

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """End subscriptions, soon."""
        self._session.unsubscribe(filters)
        self._to_write.set()

    async def receive(self) -> list[Message]:
        """Wait for messages, and take all that are there, in their order. UnreachableError."""
        while not self._messages:
            self._check()
            self._some = trio.Event()
            await self._some.wait()
        return self.receive_nowait()

    def receive_nowait(self) -> list[Message]:
        """Take all messages that are there, if there are any, in their order."""
        messages = list(self._messages)
        self._messages.clear()
        self._room.set()
        return messages

    async def welcomed(self) -> None:
        """Wait for the broker's welcome. DeniedError, UnreachableError."""
        with trio.move_on_after(CONNECT_S):
            await self._welcome.wait()
        if self._refused:
            raise DeniedError(f"{self._broker} refuses us: {self._refused}")
        self._check()
        if not self._welcome.is_set():
            raise UnreachableError(f"{self._broker} takes a connection and says nothing for {CONNECT_S:g} s")

    async def goodbye(self) -> None:
        """Tell the broker that this is the end, if it still listens."""
        self._session.goodbye()
        self._to_write.set()
        with trio.move_on_after(CLOSE_S):
            await self._ended.wait()

    async def run(self) -> None:
        """Carry bytes until the connection is over."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for task in (self._read, self._write, self._watch):
                    nursery.start_soon(task)
        self._ended.set()

    async def _read(self) -> None:
        try:
            while data := await self._stream.receive_some(RECEIVE):
                # A broker that gathers small packets (Nagle: mosquitto, unless told) sends the next only once TCP has
                # acknowledged these, for which the kernel takes 40 ms to see whether we say something meanwhile.
                self._socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_QUICKACK, 1)
                self._handle(self._session.receive(data))
                self._speak()
                while len(self._messages) >= MAX_UNREAD:  # the broker keeps the rest
                    self._room = trio.Event()
                    await self._room.wait()
            self._over("it closed the connection")
        except (ProtocolError, trio.BrokenResourceError) as error:
            self._over(why(error))

    async def _write(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write = trio.Event()
            try:
                await self._stream.send_all(self._session.outgoing())
            except trio.BrokenResourceError as error:
                self._over(why(error))
            self._handle(self._session.written())

    async def _watch(self) -> None:
        """A broker that hangs is noticed: by what it does not acknowledge, or by a ping when there is nothing of that."""
        while True:
            await trio.sleep(WATCH_S)
            self._handle(self._session.tick(trio.current_time()))
            self._speak()
            now = trio.current_time()
            if now - next((since for _, since in self._asked.values()), now) > ACK_S:
                self._over(f"it acknowledges nothing for {ACK_S:g} s")

    def _speak(self) -> None:
        if self._session.speaks:
            self._to_write.set()

    def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Message():
                    self._messages.append(event)
                case Acknowledged(mid):
                    self._acknowledged(mid)
                    self._slots.release()
                case Subscribed(mid, granted):
                    self._granted[mid] = granted
                    self._acknowledged(mid)
                case Welcomed():
                    self._welcome.set()
                case Refused(reason):
                    self._refused = reason
                    self._welcome.set()
                case Lost(reason):
                    self._over(reason)
        if self._messages:
            self._some.set()

    def _acknowledged(self, mid: int) -> None:
        if mid in self._asked:
            asked, _ = self._asked.pop(mid)
            asked.left -= 1
            if not asked.left:
                asked.done.set()

    def _over(self, reason: str) -> None:
        """The connection is broken: whoever waits is told."""
        self._lost = self._lost or reason
        for asked, _ in self._asked.values():
            asked.done.set()
        self._welcome.set()
        self._some.set()
        self._scope.cancel()
        self._slots.release()  # who waits for a slot finds out, and wakes the next

    def _check(self) -> None:
        if self._lost:
            raise UnreachableError(f"{self._broker} is away: {self._lost}")
