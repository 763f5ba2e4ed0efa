"""The shell by itself, against a hand-written peer; `tests/sim` has it among whole groups."""

import io
import itertools
from collections.abc import AsyncIterator
from itertools import count
from random import Random

import pytest
import trio
import trio.testing

from edged.kit.backoff import Backoff
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.model.objects import Key
from edged.store.store import MEMORY, Store, open_store
from edged.store.writes import Create
from edged.sync.clock import Clock
from edged.sync.membership import Membership
from edged.sync.replicator import Replicator
from edged.wire import sync as wire
from edged.wire.codec import VERSION, Frames, framed
from edged.wire.peer import ANSWER, Opened, Refused, Sync

POD = Key("pods", "default", "web-0")
BODY = b'{"apiVersion":"v1","kind":"Pod"}'


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    numbers = count(1)
    async with open_store(MEMORY, origin="gw-a", stamp=lambda: next(numbers), executor=Inline()) as opened:
        yield opened


def replicator(store: Store, out: io.StringIO) -> Replicator:
    async def nobody(peer: str, opening: Sync) -> trio.abc.HalfCloseableStream:
        raise AssertionError(f"{peer}: the higher name does not open, {opening}")

    async def never(before: frozenset[str]) -> frozenset[str]:
        await trio.sleep_forever()
        return before

    membership = Membership("gw-b", lambda: frozenset({"gw-a"}), never)
    return Replicator(
        store, Clock(lambda: 1000.0), membership, nobody, backoff=lambda: Backoff(1, 2, Random(1)), log=Log(stream=out)
    )


async def next_frame(stream: trio.abc.ReceiveStream, frames: Frames) -> bytes:
    with trio.fail_after(10):
        while (frame := frames.next()) is None:
            data = await stream.receive_some()
            assert data, "the stream ended"
            frames.feed(data)
        return frame


async def test_a_dialogue_with_a_lower_name(store: Store) -> None:
    out = io.StringIO()
    made, (near, far), frames = replicator(store, out), trio.testing.memory_stream_pair(), Frames()
    await store.write(Create(POD, "u1", b"{}"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, "gw-a", Sync(VERSION), far)
        assert isinstance(ANSWER.decode(await next_frame(near, frames)), Opened)
        vector = wire.SYNC.decode(await next_frame(near, frames))
        assert isinstance(vector, wire.Vector)
        assert vector.held == {store.origin: 1}
        await near.send_all(framed(wire.SYNC.encode(wire.Vector(VERSION, {}, 0))))
        delta = wire.SYNC.decode(await next_frame(near, frames))
        assert isinstance(delta, wire.Delta)
        assert [register.name for register in delta.registers] == ["web-0"]
        theirs = wire.Register("pods", "default", "web-9", wire.BODY, "u9", "gw-a:7", 1, 5, BODY)
        await near.send_all(framed(wire.SYNC.encode(wire.Delta("gw-a:7", 0, 1, [theirs]))))
        with trio.fail_after(10):
            await store.changed(1)
        assert store.get(POD._replace(name="web-9")) is not None
        await near.aclose()
    assert made.refused == 0
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"\xff\xff\xff\xff", "a frame of 4294967295 bytes"),
        (framed(b"garbage"), "not a message"),
        (framed(wire.SYNC.encode(wire.Vector(99, {}, 0))), "version 99 is not spoken here"),
        (
            framed(wire.SYNC.encode(wire.Vector(VERSION, {}, 0))) + framed(wire.SYNC.encode(wire.Delta("gw-a:7", 5, 9, []))),
            "0 is held here",
        ),
    ],
)
async def test_words_that_are_refused_are_answered_counted_and_logged_once(store: Store, words: bytes, reason: str) -> None:
    out = io.StringIO()
    made, (near, far), frames = replicator(store, out), trio.testing.memory_stream_pair(), Frames()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, "gw-a", Sync(VERSION), far)
        await near.send_all(words)
        said: list[object] = [ANSWER.decode(await next_frame(near, frames))]
        while not isinstance(said[-1], wire.Refused):
            said.append(wire.SYNC.decode(await next_frame(near, frames)))
        assert reason in said[-1].reason
    assert made.refused == 1
    assert out.getvalue().count("\n") == 1


async def test_an_unknown_version_is_refused_with_a_reason(store: Store) -> None:
    near, far = trio.testing.memory_stream_pair()
    await replicator(store, io.StringIO()).serve("gw-a", Sync(99), far)
    answer = ANSWER.decode(await next_frame(near, Frames()))
    assert answer == Refused("replication version 99 is not spoken here, version 1 is")


async def test_a_peer_that_refuses_is_left_alone_for_longer_and_longer(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    opened: list[float] = []

    async def refusing(peer: str, opening: Sync) -> trio.abc.HalfCloseableStream:
        opened.append(trio.current_time())
        near, far = trio.testing.memory_stream_pair()
        await far.send_all(framed(wire.SYNC.encode(wire.Refused("no"))))
        return near

    async def never(before: frozenset[str]) -> frozenset[str]:
        await trio.sleep_forever()
        return before

    membership = Membership("gw-a", lambda: frozenset({"gw-b"}), never)
    out = io.StringIO()
    log = Log(stream=out)
    made = Replicator(store, Clock(lambda: 1000.0), membership, refusing, backoff=lambda: Backoff(1, 30, Random(1)), log=log)
    with trio.move_on_after(600):
        await made.run()
    waits = [later - sooner for sooner, later in itertools.pairwise(opened)]
    assert waits[0] <= 1
    assert waits[-1] >= 15
    assert made.refused == len(opened) > 1
    assert out.getvalue().count("\n") == 1, "said once, not at each try"
