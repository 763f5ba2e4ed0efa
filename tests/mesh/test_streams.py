import errno
import resource
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.abc import HalfCloseableStream

from edged.errors import UnreachableError
from edged.mesh import streams

Receive = Callable[[HalfCloseableStream], Awaitable[bytes]]


async def accepted(listener: socket.socket) -> trio.SocketStream:
    """The connection that waits at `listener`."""
    sock, _ = listener.accept()
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a real TCP connection."""
    with await streams.listen("127.0.0.1", 0) as listener:
        client = await streams.connect("127.0.0.1", listener.getsockname()[1])
        return client, await accepted(listener)


@pytest.fixture
async def chain(nursery: trio.Nursery) -> tuple[trio.SocketStream, trio.SocketStream, trio.Event]:
    """A client and a server with a splice of two TCP connections between them, and the event of its end."""
    client, near = await pair()
    far, server = await pair()
    over = trio.Event()

    async def between() -> None:
        await streams.splice(near, far)
        over.set()

    nursery.start_soon(between)
    return client, server, over


Chain = tuple[trio.SocketStream, trio.SocketStream, trio.Event]


async def test_bytes_go_both_ways_at_once(chain: Chain, receive_all: Receive) -> None:
    client, server, over = chain
    up, down = bytes(range(256)) * 20_000, bytes(reversed(range(256))) * 20_000
    got: dict[str, bytes] = {}

    async def send(stream: trio.SocketStream, data: bytes) -> None:
        await stream.send_all(data)
        await stream.send_eof()

    async def receive(name: str, stream: trio.SocketStream) -> None:
        got[name] = await receive_all(stream)

    with trio.fail_after(60):
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(send, client, up)
            nursery.start_soon(send, server, down)
            nursery.start_soon(receive, "server", server)
            nursery.start_soon(receive, "client", client)
        await over.wait()
    assert got == {"server": up, "client": down}


@pytest.mark.parametrize("first", [0, 1])
async def test_one_side_may_end_and_still_be_answered(chain: Chain, receive_all: Receive, first: int) -> None:
    ends, over = chain[:2], chain[2]
    asking, answering = ends[first], ends[1 - first]
    with trio.fail_after(60):
        async with asking, answering:
            await asking.send_all(b"question")
            await asking.send_eof()
            assert await receive_all(answering) == b"question"
            assert not over.is_set()
            await answering.send_all(b"answer")
            await answering.send_eof()
            assert await receive_all(asking) == b"answer"
            await over.wait()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_reset_is_passed_on_as_a_reset(chain: Chain, first: int) -> None:
    ends, over = chain[:2], chain[2]
    breaking, other = ends[first], ends[1 - first]
    with trio.fail_after(60):
        await streams.reset(breaking)
        async with other:
            with pytest.raises(trio.BrokenResourceError) as caught:
                await other.receive_some(1)
            assert caught.value.__cause__.errno == errno.ECONNRESET
            await over.wait()


async def test_cancelling_resets_both() -> None:
    client, near = await pair()
    far, server = await pair()
    with trio.fail_after(60):
        async with client, server:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(streams.splice, near, far)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            for end in (client, server):
                with pytest.raises(trio.BrokenResourceError):
                    await end.receive_some(1)


async def test_a_link_that_breaks_resets_the_client(receive_all: Receive) -> None:
    client, near = await pair()
    here, there = trio.testing.memory_stream_pair()

    async def broken() -> None:
        raise trio.BrokenResourceError

    here.send_stream.send_all_hook = broken
    with trio.fail_after(60):
        async with client, there, trio.open_nursery() as nursery:
            nursery.start_soon(streams.splice, near, here)
            await client.send_all(b"lost")
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)


async def test_a_slow_reader_holds_the_writer_back(chain: Chain) -> None:
    client, server, _ = chain
    sent = 0
    with trio.fail_after(60):
        async with client, server:
            with trio.move_on_after(1):
                while sent < 1 << 30:
                    await client.send_all(bytes(1 << 20))
                    sent += 1 << 20
    assert sent < 256 << 20, "only the kernel's buffers and one read are held"


async def test_what_a_client_has_said_already_goes_first() -> None:
    listener = await streams.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with trio.fail_after(60), listener:
        async with await streams.connect("127.0.0.1", port, b"head") as client, await accepted(listener) as server:
            await trio.lowlevel.wait_readable(server.socket)
            assert streams.head(server) == b"head"
            assert streams.head(server) == b"", "nothing has arrived"
            await client.send_all(bytes(2 * streams.HEAD))
            await trio.lowlevel.wait_readable(server.socket)
            assert 0 < len(streams.head(server)) <= streams.HEAD
            assert streams.head(client) == b""


async def test_connections_wait_while_there_are_no_descriptors(nursery: trio.Nursery, receive_all: Receive) -> None:
    listener = await streams.listen("127.0.0.1", 0)
    served = trio.Event()

    async def greet(client: trio.SocketStream) -> None:
        async with client:
            await client.send_all(b"hello")
        served.set()

    with trio.fail_after(60), socket.create_connection(listener.getsockname()) as client:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as lowest:  # the number that the next descriptor would have
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), limits[1]))
        try:
            nursery.start_soon(streams.serve, listener, greet, nursery)
            await trio.testing.wait_all_tasks_blocked(2 * streams.FULL_S / 10)
            assert not served.is_set()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await served.wait()
        client.settimeout(60)
        assert client.recv(5) == b"hello"


async def test_a_refused_connection_is_unreachable(dead_port: int) -> None:
    with pytest.raises(UnreachableError, match=rf"127\.0\.0\.1:{dead_port}: Connection refused"):
        await streams.connect("127.0.0.1", dead_port)


async def test_a_silent_host_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CONNECT_S", 0.05)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with pytest.raises(UnreachableError, match=r"no answer in 0\.05 s"):
            for _ in range(100):  # the first ones fill the backlog; then a SYN stays unanswered
                await (await streams.connect("127.0.0.1", port)).aclose()


async def test_connections_do_not_wait_for_more_bytes_and_notice_dead_peers() -> None:
    client, server = await pair()
    async with client, server:
        for end in (client, server):
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == streams.IDLE_S
