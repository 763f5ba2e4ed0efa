from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest
import trio
import trio.testing
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError, UnreachableError
from edged.kit.log import Log
from edged.mesh import proxy, streams
from edged.mesh.balancer import Balancer
from edged.mesh.proxy import Proxy
from edged.mesh.table import Endpoint, Entry, Name, Table
from edged.wire.peer import Tunnel

WEB = Name("default", "web")
Receive = Callable[[HalfCloseableStream], Awaitable[bytes]]


def table(*endpoints: Endpoint) -> Table:
    entry = Entry(WEB, "127.96.1.2", headless=False, ports={80: endpoints}, hosts=())
    return Table("gw-a", "127.96.0.0/16", {WEB: entry}, {entry.address: entry}, frozenset({"default"}), ())


async def nobody(node: str, opening: Tunnel) -> HalfCloseableStream:
    raise UnreachableError(f"no link to {node}")


class Service:
    """A proxy for one service behind a real listener: `dial` is what its client does."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy, self.port = proxy, port

    async def dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@pytest.fixture
async def serve(nursery: trio.Nursery, log: Log) -> AsyncIterator[Callable[..., Awaitable[Service]]]:
    async def start(*endpoints: Endpoint, open_stream: proxy.OpenStream = nobody) -> Service:
        made = Proxy(lambda: table(*endpoints), Balancer("gw-a", Random(1)), open_stream, log)
        listener = await streams.listen("127.0.0.1", 0)
        nursery.start_soon(trio.serve_listeners, lambda client: made.serve(client, WEB, 80), [listener])
        return Service(made, listener.socket.getsockname()[1])

    return start


def here(port: int, pod: str = "web-0") -> Endpoint:
    return Endpoint(pod, "gw-a", "127.0.0.1", port)


def there(pod: str = "web-9", node: str = "gw-b") -> Endpoint:
    return Endpoint(pod, node, "172.17.0.2", 8080)


Serve = Callable[..., Awaitable[Service]]


async def exchange(service: Service, receive_all: Receive) -> bytes:
    with trio.fail_after(60):
        async with await service.dial() as client:
            await client.send_all(b"hello")
            await client.send_eof()
            return await receive_all(client)


async def expect_reset(service: Service) -> None:
    with trio.fail_after(60):
        async with await service.dial() as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)


async def test_a_pod_of_this_node_is_dialled_directly(serve: Serve, shout: int, receive_all: Receive) -> None:
    service = await serve(here(shout), there())
    assert await exchange(service, receive_all) == b"HELLO"
    assert service.proxy.statistics.accepted == 1
    assert service.proxy.statistics.failed_dials == 0


async def test_a_pod_of_another_node_through_the_link(serve: Serve, receive_all: Receive, nursery: trio.Nursery) -> None:
    asked = []

    async def open_stream(node: str, opening: Tunnel) -> HalfCloseableStream:
        asked.append((node, opening))
        near, far = trio.testing.memory_stream_pair()
        nursery.start_soon(answer, far)
        return near

    async def answer(stream: HalfCloseableStream) -> None:
        data = await receive_all(stream)
        await stream.send_all(data[::-1])
        await stream.send_eof()

    service = await serve(there(), open_stream=open_stream)
    assert await exchange(service, receive_all) == b"olleh"
    assert asked == [("gw-b", Tunnel("default", "web", 80, "web-9"))]


async def test_a_failed_dial_is_tried_elsewhere_unseen(serve: Serve, shout: int, dead_port: int, receive_all: Receive) -> None:
    service = await serve(here(dead_port), here(shout, "web-1"), there())
    for _ in range(10):
        assert await exchange(service, receive_all) == b"HELLO"
    assert service.proxy.statistics.failed_dials <= 1, "an endpoint that failed is avoided"


@pytest.mark.parametrize("refusal", [UnreachableError("no link"), DeniedError("no such pod")])
async def test_a_refusing_node_is_left_for_another(
    serve: Serve, receive_all: Receive, nursery: trio.Nursery, refusal: Exception
) -> None:
    async def open_stream(node: str, opening: Tunnel) -> HalfCloseableStream:
        if node == "gw-b":
            raise refusal
        near, far = trio.testing.memory_stream_pair()
        nursery.start_soon(speak, far, node.encode())
        return near

    async def speak(stream: HalfCloseableStream, data: bytes) -> None:
        await stream.send_all(data)
        await stream.send_eof()

    service = await serve(there(), there("web-8", "gw-c"), open_stream=open_stream)
    for _ in range(5):
        assert await exchange(service, receive_all) == b"gw-c"


async def test_nobody_there_is_a_reset_at_once(serve: Serve, dead_port: int) -> None:
    service = await serve(here(dead_port), there())
    await expect_reset(service)
    assert service.proxy.statistics.failed_dials == 2
    assert service.proxy.statistics.unreachable == 1


async def test_no_endpoints_is_a_reset_at_once(serve: Serve) -> None:
    await expect_reset(await serve())


async def test_tries_are_bounded(serve: Serve, dead_port: int) -> None:
    service = await serve(*(here(dead_port, f"web-{number}") for number in range(20)))
    await expect_reset(service)
    assert service.proxy.statistics.failed_dials == proxy.MAX_TRIES


async def test_a_node_that_never_answers_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "OPEN_S", 0.05)

    async def open_stream(node: str, opening: Tunnel) -> HalfCloseableStream:
        await trio.sleep_forever()
        raise AssertionError

    service = await serve(there(), open_stream=open_stream)
    await expect_reset(service)
    assert service.proxy.statistics.failed_dials == 1


async def test_connections_are_bounded(
    serve: Serve, shout: int, receive_all: Receive, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Awaitable[None]]
) -> None:
    monkeypatch.setattr(proxy, "MAX_CONNECTIONS", 1)
    service = await serve(here(shout))
    with trio.fail_after(60):
        async with await service.dial() as first:
            await first.send_all(b"one")
            await until(lambda: service.proxy.statistics.open == 1)
            await expect_reset(service)
            assert service.proxy.statistics.refused_full == 1
            await first.send_eof()
            assert await receive_all(first) == b"ONE"
        await until(lambda: service.proxy.statistics.open == 0)
    assert await exchange(service, receive_all) == b"HELLO"


async def test_a_pod_that_resets_resets_the_client(serve: Serve, nursery: trio.Nursery) -> None:
    listener = await streams.listen("127.0.0.1", 0)

    async def rude(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        await streams.reset(stream)

    nursery.start_soon(trio.serve_listeners, rude, [listener])
    service = await serve(here(listener.socket.getsockname()[1]))
    with trio.fail_after(60):
        async with await service.dial() as client:
            await client.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)
