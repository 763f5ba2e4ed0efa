"""A simulated group: real stores (inline) and real replication over memory streams, under a clock that jumps."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from edged.errors import UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.store.store import MEMORY, Store, open_store
from edged.sync.clock import Clock
from edged.sync.membership import Membership
from edged.sync.replicator import Replicator
from edged.wire.codec import Frames
from edged.wire.peer import ANSWER, Opened, Sync

EPOCH = 1_700_000_000.0


class Member:
    def __init__(self, name: str, store: Store, clock: Clock) -> None:
        self.name, self.store, self.clock = name, store, clock
        self.linked: frozenset[str] = frozenset()
        self.replicator: Replicator
        self.skew = 0.0


class Group:
    """Nodes whose links a test makes and cuts. A cut breaks the streams of that link at once, whatever is under way."""

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.members: dict[str, Member] = {}
        self.random = Random(seed)
        self._nursery = nursery
        self._lot = trio.lowlevel.ParkingLot()
        self._streams: dict[frozenset[str], list[trio.abc.HalfCloseableStream]] = {}

    async def add(self, member: Member) -> None:
        name, store, clock = member.name, member.store, member.clock

        async def changed(before: frozenset[str]) -> frozenset[str]:
            while member.linked == before:
                await self._lot.park()
            return member.linked

        async def open_stream(peer: str, opening: Sync) -> trio.abc.HalfCloseableStream:
            return await self._open(name, peer, opening)

        member.replicator = Replicator(
            store,
            clock,
            Membership(name, lambda: member.linked, changed),
            open_stream,
            backoff=lambda: Backoff(0.5, 30, self.random),
            log=Log(level="error"),
        )
        self.members[name] = member
        await self._nursery.start(member.replicator.run)

    def link(self, one: str, other: str) -> None:
        self._set(one, other, lambda linked, name: linked | {name})

    def cut(self, one: str, other: str) -> None:
        self._set(one, other, lambda linked, name: linked - {name})
        for stream in self._streams.pop(frozenset((one, other)), []):
            self._nursery.start_soon(stream.aclose)

    def _set(self, one: str, other: str, change: Callable[[frozenset[str], str], frozenset[str]]) -> None:
        self.members[one].linked = change(self.members[one].linked, other)
        self.members[other].linked = change(self.members[other].linked, one)
        self._lot.unpark_all()

    async def _open(self, name: str, peer: str, opening: Sync) -> trio.abc.HalfCloseableStream:
        await trio.sleep(self.random.random() * 0.05)
        if peer not in self.members[name].linked:
            raise UnreachableError(f"no link to {peer}")
        near, far = trio.testing.memory_stream_pair()
        self._streams.setdefault(frozenset((name, peer)), []).extend((near, far))
        self._nursery.start_soon(self._serve, peer, name, opening, far)
        frames = Frames()
        while (frame := frames.next()) is None:
            try:
                data = await near.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise UnreachableError(f"no link to {peer}")
            frames.feed(data)
        assert isinstance(ANSWER.decode(frame), Opened)
        rest = frames.rest()
        if rest:
            near = _Prefixed(rest, near)
        return near

    async def _serve(self, name: str, peer: str, opening: Sync, stream: trio.abc.HalfCloseableStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.members[name].replicator.serve(peer, opening, stream)


class _Prefixed(trio.abc.HalfCloseableStream):
    def __init__(self, first: bytes, stream: trio.abc.HalfCloseableStream) -> None:
        self._first, self._stream = first, stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._first:
            await trio.lowlevel.checkpoint()
            first, self._first = self._first, b""
            return first
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _open_member(name: str, stack: AsyncExitStack) -> Member:
    member: Member
    clock = Clock(lambda: EPOCH + trio.current_time() + member.skew)
    store = await stack.enter_async_context(open_store(MEMORY, origin=name, stamp=clock.stamp, executor=Inline()))
    member = Member(name, store, clock)
    return member


@asynccontextmanager
async def simulated(names: list[str], seed: int) -> AsyncIterator[Group]:
    async with AsyncExitStack() as stack:
        opened = [await _open_member(name, stack) for name in names]
        nursery = await stack.enter_async_context(trio.open_nursery())
        group = Group(nursery, seed)
        for member in opened:
            await group.add(member)
        yield group
        nursery.cancel_scope.cancel()


@pytest.fixture
def run_simulated() -> Callable[[list[str], int, Callable[[Group], Any]], None]:
    """Runs `scenario(group)` to its end in virtual time, in a trio loop of its own."""

    def run(names: list[str], seed: int, scenario: Callable[[Group], Any]) -> None:
        async def main() -> None:
            with trio.fail_after(3600):
                async with simulated(names, seed) as group:
                    await scenario(group)

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    return run
