from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from random import Random

import pytest
import trio
import trio.testing
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError, UnreachableError
from edged.kit.log import Log
from edged.mesh import proxy, streams
from edged.mesh.balancer import Balancer
from edged.mesh.names import Name
from edged.mesh.policy import BY_HASH, BY_LEAST, USUAL, Policy
from edged.mesh.proxy import Proxy
from edged.mesh.table import TCP, Called, Endpoint, Entry, Port, Served, Table
from edged.model.closure import AllowFrom
from edged.wire.peer import Tunnel

WEB = Name("default", "web")
Receive = Callable[[HalfCloseableStream], Awaitable[bytes]]


def table(*endpoints: Endpoint, policy: Policy = USUAL, allow: AllowFrom | None = None) -> Table:
    ports = {Port(TCP, 80): Served("", 0, endpoints)}
    entry = Entry(WEB, "127.96.1.2", headless=False, ports=ports, hosts=(), policy=policy, allow=allow)
    known = {"127.0.0.1": "shop"}
    return Table("gw-a", "127.96.0.0/16", {WEB: entry}, {entry.address: entry}, frozenset(), (), namespace_of=known)


async def nobody(node: str, opening: Tunnel, head: bytes) -> HalfCloseableStream:
    raise UnreachableError(f"no link to {node}")


class Service:
    """A proxy for one service behind a real listener: `dial` is what its client does."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy, self.port = proxy, port

    async def dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@pytest.fixture
async def serve(nursery: trio.Nursery, log: Log) -> AsyncIterator[Callable[..., Awaitable[Service]]]:
    async def start(
        *endpoints: Endpoint,
        open_stream: proxy.OpenStream = nobody,
        policy: Policy = USUAL,
        allow: AllowFrom | None = None,
    ) -> Service:
        made = Proxy(lambda: table(*endpoints, policy=policy, allow=allow), Balancer("gw-a", Random(1)), open_stream, log)
        listener = await streams.listen("127.0.0.1", 0)
        called = Called(WEB, Port("TCP", 80))
        nursery.start_soon(streams.serve, listener, lambda client: made.serve(client, called), nursery)
        return Service(made, listener.getsockname()[1])

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

    async def open_stream(node: str, opening: Tunnel, head: bytes) -> HalfCloseableStream:
        asked.append((node, opening))
        near, far = trio.testing.memory_stream_pair()
        nursery.start_soon(answer, far)
        await near.send_all(head)
        return near

    async def answer(stream: HalfCloseableStream) -> None:
        data = await receive_all(stream)
        await stream.send_all(data[::-1])
        await stream.send_eof()

    service = await serve(there(), open_stream=open_stream)
    assert await exchange(service, receive_all) == b"olleh"
    assert asked == [("gw-b", Tunnel("default", "web", 80, "web-9", "shop"))]


async def test_a_failed_dial_is_tried_elsewhere_unseen(serve: Serve, shout: int, dead_port: int, receive_all: Receive) -> None:
    service = await serve(here(dead_port), here(shout, "web-1"), there())
    for _ in range(10):
        assert await exchange(service, receive_all) == b"HELLO"
    assert service.proxy.statistics.failed_dials <= 1, "an endpoint that failed is avoided"


@pytest.mark.parametrize("refusal", [UnreachableError("no link"), DeniedError("no such pod")])
async def test_a_refusing_node_is_left_for_another(
    serve: Serve, receive_all: Receive, nursery: trio.Nursery, refusal: Exception
) -> None:
    said: list[bytes] = []

    async def open_stream(node: str, opening: Tunnel, head: bytes) -> HalfCloseableStream:
        if node == "gw-b":
            said.append(head)
            raise refusal
        assert not said or said.pop() == head, "what the client has said is said to the next one, too"
        near, far = trio.testing.memory_stream_pair()
        nursery.start_soon(speak, far, node.encode())
        await near.send_all(head)
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

    async def open_stream(node: str, opening: Tunnel, head: bytes) -> HalfCloseableStream:
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

    nursery.start_soon(streams.serve, listener, rude, nursery)
    service = await serve(here(listener.getsockname()[1]))
    with trio.fail_after(60):
        async with await service.dial() as client:
            await client.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)


@pytest.fixture
async def pods(nursery: trio.Nursery) -> list[Endpoint]:
    """Three pods that say their name and what they heard to the end of a request's head."""

    async def answer(name: bytes, stream: trio.SocketStream) -> None:
        async with stream:
            heard = b""
            while b"\r\n\r\n" not in heard:
                heard += await stream.receive_some(4096) or b"\r\n\r\n"
            await stream.send_all(name + b" " + heard)

    made = []
    for name in ("web-0", "web-1", "web-2"):
        listener = await streams.listen("127.0.0.1", 0)
        nursery.start_soon(streams.serve, listener, partial(answer, name.encode()), nursery)
        made.append(here(listener.getsockname()[1], name))
    return made


async def asked(service: Service, receive_all: Receive, request: bytes) -> tuple[bytes, bytes]:
    with trio.fail_after(60):
        async with await service.dial() as client:
            await client.send_all(request)
            pod, _, heard = (await receive_all(client)).partition(b" ")
            return pod, heard


async def test_a_client_is_known_by_a_header(serve: Serve, pods: list[Endpoint], receive_all: Receive) -> None:
    service = await serve(*pods, policy=Policy(BY_HASH, "x-user"))
    by: dict[int, bytes] = {}
    for number in (*range(12), *range(12)):
        request = b"GET / HTTP/1.1\r\nX-User: user-%d\r\n\r\n" % number
        pod, heard = await asked(service, receive_all, request)
        assert heard == request, "what was read ahead is not lost"
        assert by.setdefault(number, pod) == pod
    assert len(set(by.values())) == 3


async def test_without_the_header_by_its_address_and_not_its_port(
    serve: Serve, pods: list[Endpoint], receive_all: Receive
) -> None:
    for policy in (Policy(BY_HASH), Policy(BY_HASH, "x-user")):
        service = await serve(*pods, policy=policy)
        assert len({(await asked(service, receive_all, b"GET / HTTP/1.1\r\n\r\n"))[0] for _ in range(8)}) == 1


async def test_a_client_that_says_nothing_stalls_nobody(
    serve: Serve, pods: list[Endpoint], receive_all: Receive, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await serve(*pods, policy=Policy(BY_HASH, "x-user"))
    async with await service.dial(), await service.dial():
        for number in range(5):
            await asked(service, receive_all, b"GET / HTTP/1.1\r\nX-User: user-%d\r\n\r\n" % number)


async def test_the_calls_under_way_are_known(
    serve: Serve, pods: list[Endpoint], receive_all: Receive, until: Callable[..., Awaitable[None]]
) -> None:
    service = await serve(*pods, policy=Policy(BY_LEAST))
    known = service.proxy._balancer._known
    async with await service.dial():
        await until(lambda: sum(each.pending for each in known.values()) == 1)
    await until(lambda: sum(each.pending for each in known.values()) == 0)


@pytest.mark.parametrize(
    ("allow", "passes"),
    [
        (AllowFrom(frozenset({"shop"}), frozenset()), True),
        (AllowFrom(frozenset(), frozenset({"gw-a"})), True),
        (AllowFrom(frozenset({"other"}), frozenset({"gw-b"})), False),
    ],
)
async def test_some_callers_only(serve: Serve, shout: int, receive_all: Receive, allow: AllowFrom, passes: bool) -> None:
    service = await serve(here(shout), allow=allow)
    if passes:
        assert await exchange(service, receive_all) == b"HELLO"
    else:
        await expect_reset(service)
    assert service.proxy.statistics.refused == (not passes)
