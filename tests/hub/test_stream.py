from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from edged.errors import ProtocolError, UnreachableError
from edged.hub.stream import LinkStream
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, STREAM_WINDOW, Opened, Opening, Tunnel

DEADLINE_S = 60.0
Maker = Callable[[], Any]


@asynccontextmanager
async def maker(acme: Any, start_hub: Any) -> Any:
    """A function that makes both ends of a new stream between two hubs."""
    send, receive = trio.open_memory_channel[LinkStream](1)

    async def hand_over(_peer: str, _opening: Opening, stream: LinkStream) -> None:
        await stream.send_all(framed(ANSWER.encode(Opened())))
        await send.send(stream)
        await trio.sleep_forever()  # the test closes it

    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, handlers={Tunnel: hand_over}) as (_, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await a.links_changed(frozenset())

        async def make() -> tuple[LinkStream, LinkStream]:
            stream = await a.open_stream("gw-b", Tunnel("default", "web", 80, ""))
            return stream, await receive.receive()

        yield make


async def test_it_is_a_half_closeable_stream(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:

        async def clogged() -> tuple[LinkStream, LinkStream]:
            one, two = await make()
            for stream in (one, two):
                flow = stream._link._flows[stream._id]
                await stream.send_all(bytes(flow.allowed - flow.sent))
            return one, two

        with trio.fail_after(2 * DEADLINE_S):
            await trio.testing.check_half_closeable_stream(make, clogged)


async def test_a_reset_is_no_end(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        await one.send_all(b"half a")
        await trio.aclose_forcefully(one)
        with trio.fail_after(DEADLINE_S), pytest.raises(trio.BrokenResourceError, match="reset"):
            while await two.receive_some():
                pass
        with trio.fail_after(DEADLINE_S), pytest.raises(trio.BrokenResourceError):
            while True:
                await two.send_all(b"x")
        await two.aclose()


async def test_all_that_was_sent_before_closing_arrives(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        data = bytes(range(256)) * 400  # less than a stream may have unread
        await one.send_all(data)
        await one.aclose()
        with trio.fail_after(DEADLINE_S):
            assert b"".join([piece async for piece in two]) == data
        await two.aclose()


async def test_a_reply_comes_after_our_end(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        await one.send_eof()
        with trio.fail_after(DEADLINE_S):
            assert await two.receive_some() == b""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(two.send_all, bytes(2 * STREAM_WINDOW))
                length = 0
                while length < 2 * STREAM_WINDOW:
                    length += len(await one.receive_some())
            await two.send_eof()
            assert await one.receive_some() == b""
        await one.aclose()
        await two.aclose()


async def test_bytes_are_passed_on_at_once(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        taken = bytearray()
        least = trio.Event()

        def some(pieces: Sequence[bytes | memoryview]) -> int:
            """What a socket does that is full after 100,000 bytes."""
            room = 100_000 - len(taken)
            taken.extend(b"".join(pieces)[:room])
            if len(taken) == 100_000:
                least.set()
            return min(room, sum(map(len, pieces)))

        data = Random(1).randbytes(400_000)
        left = bytearray()
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send_all, data)
                while len(taken) + len(left) < len(data):
                    left += await two.forward(some)
            assert least.is_set()
            assert taken + left == data
            await one.send_eof()
            assert await two.forward(some) == b""
        for stream in (one, two):
            await trio.aclose_forcefully(stream)
        with pytest.raises(trio.ClosedResourceError):
            await two.forward(some)


@pytest.mark.parametrize("piece", [33_000, 70_001, 100_000])
async def test_no_size_of_reads_stalls_a_writer(acme: Any, start_hub: Any, piece: int) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        length = 4 * STREAM_WINDOW
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send_all, bytes(length))
                await trio.testing.wait_all_tasks_blocked(0.02)  # the writer has filled the window
                while length:
                    length -= len(await two.receive_some(piece))
                    await trio.sleep(0.01)  # the credit for it arrives
        for stream in (one, two):
            await trio.aclose_forcefully(stream)


async def test_there_is_room_for_some_at_once_and_no_more(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        data = Random(2).randbytes(2 * STREAM_WINDOW)
        pieces = [memoryview(data)[at : at + 50_000] for at in range(0, len(data), 50_000)]
        sent = one.take(pieces)
        assert 0 < sent <= STREAM_WINDOW
        assert one.take(pieces) == 0
        got = bytearray()
        with trio.fail_after(DEADLINE_S):
            while len(got) < sent:
                got += await two.receive_some()
        assert got == data[:sent]
        one.abort()
        assert one.take(pieces) == 0, "nothing can be sent, and nothing is raised"
        await trio.aclose_forcefully(two)


async def test_an_unread_stream_does_not_stall_another(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        slow, unread = await make()
        quick, read = await make()
        with trio.move_on_after(1.0) as patience:
            await slow.send_all(bytes(3 * STREAM_WINDOW))
        assert patience.cancelled_caught
        with trio.fail_after(DEADLINE_S):
            await quick.send_all(b"here")
            assert await read.receive_some() == b"here"
        assert sum(map(len, unread._arrived)) <= STREAM_WINDOW
        for stream in (slow, unread, quick, read):
            await trio.aclose_forcefully(stream)


async def test_frames_before_bytes(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        await one.send_all(framed(b"first") + framed(b"") + b"the rest")
        with trio.fail_after(DEADLINE_S):
            assert await two.receive_frame(10) == b"first"
            assert await two.receive_frame(10) == b""
            assert await two.receive_some() == b"the rest"
            await one.send_all(framed(bytes(11)))
            with pytest.raises(ProtocolError, match="11 bytes"):
                await two.receive_frame(10)
            await two.receive_some(11)
            await one.send_all(b"\x00\x00")
            await one.send_eof()
            with pytest.raises(UnreachableError, match="ended"):
                await two.receive_frame(10)
            await trio.aclose_forcefully(two)
            with pytest.raises(UnreachableError, match="reset"):
                await one.receive_frame(10)
        await one.aclose()
