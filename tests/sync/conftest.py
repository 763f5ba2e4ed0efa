"""Nodes of one fleet with keys of one authority, made once a run; and a node whose replication speaks to a test."""

import datetime
import io
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec
import pytest
import trio
import trio.testing

from edged.errors import UnreachableError
from edged.identity.authority import Authority
from edged.identity.keyring import Keyring
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.store.quota import QUOTA, Quota
from edged.store.store import MEMORY, Store, open_store
from edged.sync.clock import Clock
from edged.sync.group import Group
from edged.wire import sync as wire
from edged.wire.codec import VERSION, Frames, framed
from edged.wire.peer import ANSWER, Opened, Sync
from edged.wire.sync import Register, SyncMessage, signed_bytes

EPOCH = 1_786_000_000.0
M = TypeVar("M")

NOW = datetime.datetime(2026, 8, 6, 12, tzinfo=datetime.UTC)


@cache
def authority() -> Authority:
    with tempfile.TemporaryDirectory() as directory:
        return Authority.create(Path(directory) / "authority", "test", NOW)


@cache
def identity(name: str, group: str = "site", limited: bool = False) -> Identity:
    return Identity(authority().issue(name, group, (), NOW, limited=limited))


def keyring(*names: str) -> Keyring:
    made = Keyring(Verifier(authority().certificate_pem))
    for name in names:
        made.learn(identity(name).certificate_der)
    return made


def sealed(register: Register, by: Identity) -> Register:
    return msgspec.structs.replace(register, signature=by.seal(signed_bytes(register)))


@pytest.fixture(name="identity")
def _identity() -> Callable[..., Identity]:
    return identity


@pytest.fixture(name="keyring")
def _keyring() -> Callable[..., Keyring]:
    return keyring


@pytest.fixture(name="sealed")
def _sealed() -> Callable[..., Register]:
    return sealed


class NoLinks:
    """The hub of a node that a test speaks to itself: it has the links that the test says, and opens none."""

    def __init__(self) -> None:
        self.known: frozenset[str] = frozenset()
        self.neighbours: frozenset[str] = frozenset()
        self.abroad: frozenset[str] = frozenset()
        self.wanted: frozenset[str] | None = None
        self.dropped: list[tuple[str, str]] = []
        self.streams: list[trio.abc.HalfCloseableStream] = []
        self.opened: list[float] = []
        self._changed = trio.Event()

    def set(self, *names: str) -> None:
        self.known = self.neighbours = frozenset(names)
        self._changed.set()
        self._changed = trio.Event()

    async def known_changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.known == before:
            await self._changed.wait()
        return self.known

    async def neighbours_changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.neighbours == before:
            await self._changed.wait()
        return self.neighbours

    async def abroad_changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.abroad == before:
            await self._changed.wait()
        return self.abroad

    def want(self, nodes: frozenset[str] | None) -> None:
        self.wanted = nodes

    def drop(self, node: str, reason: str) -> None:
        self.dropped.append((node, reason))

    async def open_stream(self, node: str, opening: Sync) -> trio.abc.HalfCloseableStream:
        self.opened.append(trio.current_time())
        if not self.streams:
            raise UnreachableError(f"no link to {node}")
        return self.streams.pop(0)


class Peer:
    """The other end of a replication stream: it says what a test wants, and hears everything."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, name: str) -> None:
        self._stream, self._frames, self.name = stream, Frames(), name

    async def opened(self) -> None:
        assert isinstance(ANSWER.decode(await self.frame()), Opened)

    async def frame(self) -> bytes:
        with trio.fail_after(60):
            while (frame := self._frames.next()) is None:
                data = await self._stream.receive_some()
                assert data, "the stream ended"
                self._frames.feed(data)
            return frame

    async def hear(self, kind: type[M]) -> M:
        """The next word of this kind; others before it are passed over."""
        while True:
            message = wire.SYNC.decode(await self.frame())
            if isinstance(message, kind):
                return message

    async def say(self, *messages: SyncMessage) -> None:
        for message in messages:
            await self._stream.send_all(framed(wire.SYNC.encode(message)))

    async def raw(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def greet(
        self, *, held: dict[str, int] | None = None, floors: dict[str, int] | None = None, wall: float = 0.0
    ) -> None:
        """The first words, and the certificate of who speaks."""
        await self.say(
            wire.Hello(VERSION, wall or EPOCH + trio.current_time(), []),
            wire.Vector(held or {}, floors or {}, 0),
            wire.Certificates([identity(self.name).certificate_der]),
        )

    async def aclose(self) -> None:
        await self._stream.aclose()


class House:
    """Node gw-b with a real store and real keys."""

    def __init__(self, store: Store, name: str = "gw-b") -> None:
        self.store, self.name, self.links, self.out = store, name, NoLinks(), io.StringIO()
        self.skew = 0.0
        self.clock = Clock(lambda: EPOCH + trio.current_time() + self.skew, store.latest_clock, trio.current_time)
        self.keys = keyring(name)
        self.group = Group(
            *(store, self.clock, identity(name), self.keys, self.links),
            random=Random(1),
            log=Log(stream=self.out, level="info"),
        )

    @property
    def said(self) -> list[str]:
        """Warnings and errors."""
        records: list[dict[str, Any]] = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [str(record["message"]) for record in records if record["level"] in ("warning", "error")]

    @asynccontextmanager
    async def peer(self, name: str = "gw-a") -> AsyncIterator[Peer]:
        """A peer that has opened a stream to this node."""
        near, far = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.group.replicator.serve, name, Sync(VERSION), far)
            made = Peer(near, name)
            await made.opened()
            yield made
            await near.aclose()


@asynccontextmanager
async def opened_house(name: str = "gw-b", path: str | Path = MEMORY, quota: Quota = QUOTA) -> AsyncIterator[House]:
    stamps = iter(range(1, 1 << 40))
    made: list[House] = []

    def stamp() -> int:
        return made[0].clock.stamp() if made else next(stamps)

    seal = identity(name).seal
    async with open_store(path, origin=name, group="site", sign=seal, stamp=stamp, executor=Inline(), quota=quota) as store:
        made.append(House(store, name))
        yield made[0]


@asynccontextmanager
async def joined(one: House, other: House) -> AsyncIterator[None]:
    """Two nodes that replicate with each other."""
    near, far = trio.testing.memory_stream_pair()
    one.links.streams.append(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.group.replicator.serve, one.name, Sync(VERSION), far)
        assert isinstance(ANSWER.decode(await Peer(near, other.name).frame()), Opened)
        nursery.start_soon(one.group.replicator._replicate, other.name, near)
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened_house() as made:
        yield made
