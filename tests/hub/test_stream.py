import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from edged.errors import ProtocolError, UnreachableError
from edged.hub.stream import LinkStream
from edged.kit.direct import Direct, Take
from edged.mesh import streams
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


class Sink(Direct):
    """A socket's part of a call: takes `room` bytes in all, and knows how it ended."""

    def __init__(self, room: int) -> None:
        self.held, self.room, self.ended = bytearray(), room, 0

    def take(self, pieces: Sequence[bytes | memoryview]) -> int:
        taken = b"".join(pieces)[: self.room - len(self.held)]
        self.held += taken
        return len(taken)

    async def forward(self, take: Take) -> bytes:
        raise NotImplementedError

    def end(self) -> None:
        self.ended += 1

    def close(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError


async def test_a_sink_is_fed_without_a_task(acme: Any, start_hub: Any, until: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        sink, disturbed = Sink(100), trio.Event()
        await one.send_all(b"before, ")
        with trio.fail_after(DEADLINE_S):
            await until(lambda: two.spoken_to)
            two.feed(sink, disturbed.set)
            assert sink.held == b"before, "
            await one.send_all(b"after")
            await until(lambda: sink.held == b"before, after")
            await one.send_eof()
            await until(lambda: sink.ended == 1)
            assert not disturbed.is_set()
            two.keep()
            assert await two.receive_some() == b"", "a reader still hears of the end"
        for stream in (one, two):
            stream.close()


async def test_what_a_sink_does_not_take_is_kept_for_a_reader(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        sink, disturbed = Sink(10), trio.Event()
        two.feed(sink, disturbed.set)
        await one.send_all(b"more than ten bytes")
        await one.send_eof()
        with trio.fail_after(DEADLINE_S):
            await disturbed.wait()
            two.keep()
            assert sink.held == b"more than "
            assert b"".join([piece async for piece in two]) == b"ten bytes"
        assert not sink.ended
        for stream in (one, two):
            stream.close()


async def test_who_feeds_a_sink_is_told_of_a_reset(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        sink, disturbed = Sink(100), trio.Event()
        two.feed(sink, disturbed.set)
        one.abort()
        with trio.fail_after(DEADLINE_S):
            await disturbed.wait()
            two.keep()
            with pytest.raises(trio.BrokenResourceError, match="reset"):
                await two.receive_some()
        assert not sink.ended
        two.close()


async def test_what_may_wait_goes_soon_or_with_the_next_words(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        with trio.fail_after(DEADLINE_S):
            before = one._link.bytes_sent
            assert one.take_soon((b"alone",)) == 5
            assert one._link.bytes_sent == before
            assert await two.receive_some() == b"alone", "nobody says more, and it comes all the same"
            assert one.take_soon((b"to", b"gether ")) == 9
            assert one.take((b"with this",)) == 9
            assert await two.receive_some() == b"together with this", "in one piece: one datagram"
        for stream in (one, two):
            stream.close()


async def test_the_second_end_waits_a_little_for_more_to_go_with(acme: Any, start_hub: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        with trio.fail_after(DEADLINE_S):
            one.end()
            assert await two.receive_some() == b"", "the first end goes at once: who hears of it may be waiting"
            before = two._link.bytes_sent
            two.end()
            two.close()
            assert two._link.bytes_sent == before
            assert await one.receive_some() == b"", "nobody says more, and it comes all the same"
        one.close()


async def test_a_frame_that_is_here_needs_no_wait(acme: Any, start_hub: Any, until: Any) -> None:
    async with maker(acme, start_hub) as make:
        one, two = await make()
        assert two.frame_nowait(10) == b""
        with trio.fail_after(DEADLINE_S):
            await one.send_all(framed(b"whole") + framed(bytes(11)))
            await until(lambda: two.spoken_to)
            assert two.frame_nowait(10) == b"whole"
            assert two.frame_nowait(10) == b"", "too long: receive_frame says so"
            with pytest.raises(ProtocolError, match="11 bytes"):
                await two.receive_frame(10)
        for stream in (one, two):
            stream.close()
        assert two.frame_nowait(10) == b""


def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    one, other = (trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in (one, other))
    return one, other


@asynccontextmanager
async def call(acme: Any, start_hub: Any) -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream, trio.Event]]:
    """A client and a server with sockets at both ends of a link, as calls by name go; the event of its end at the client's."""
    async with maker(acme, start_hub) as make:
        near, far = await make()
        (client, one), (server, other) = tcp_pair(), tcp_pair()
        over = trio.Event()

        async def spliced() -> None:
            await streams.splice(one, near)
            over.set()

        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(spliced)
            nursery.start_soon(streams.splice, other, far)
            with trio.fail_after(DEADLINE_S):
                yield client, server, over
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_call_in_which_either_side_ends_first(acme: Any, start_hub: Any, first: int) -> None:
    async with call(acme, start_hub) as (client, server, over):
        asking, answering = (client, server) if first == 0 else (server, client)
        await asking.send_all(b"question")
        assert await answering.receive_some() == b"question"
        await asking.send_eof()
        assert await answering.receive_some() == b""
        assert not over.is_set()
        await answering.send_all(b"answer")
        assert await asking.receive_some() == b"answer"
        await answering.send_eof()
        assert await asking.receive_some() == b""
        await over.wait()


@pytest.mark.parametrize("heavy", [0, 1])
async def test_a_call_whose_reader_is_slow(acme: Any, start_hub: Any, heavy: int) -> None:
    """Neither the socket nor the link takes all at once, while small words go the other way."""
    async with call(acme, start_hub) as (client, server, over):
        sender, reader = (client, server) if heavy == 0 else (server, client)
        data = Random(3).randbytes(8 << 20)
        got = bytearray()

        async def send() -> None:
            await sender.send_all(data)
            await sender.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while len(got) < len(data):
                await reader.send_all(b"go on")
                assert await sender.receive_some() != b""
                got += await reader.receive_some(1 << 20)
        assert got == data
        await reader.send_eof()
        while await sender.receive_some():
            pass
        await over.wait()


@pytest.mark.parametrize("breaks", [0, 1])
async def test_a_call_that_breaks_is_no_end(acme: Any, start_hub: Any, breaks: int) -> None:
    async with call(acme, start_hub) as (client, server, over):
        broken, other = (client, server) if breaks == 0 else (server, client)
        await broken.send_all(b"half a")
        assert await other.receive_some() == b"half a"
        await streams.reset(broken)
        with pytest.raises(trio.BrokenResourceError):
            await other.receive_some()
        await over.wait()
