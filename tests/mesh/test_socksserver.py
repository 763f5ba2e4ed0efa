import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.kit.interfaces import own_addresses
from edged.kit.log import Log
from edged.mesh import socksserver
from edged.mesh.mesh import Mesh
from edged.mesh.socksserver import SocksServer
from edged.model.core import Node, NodeAddress, NodeStatus, Pod, Service, ServicePort
from edged.model.meta import ObjectMeta
from edged.model.objects import dump, key
from edged.store.store import Store
from edged.store.writes import Create

Put = Callable[..., Awaitable[None]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
WEB = "web.default.svc.cluster.local"


async def answer(stream: trio.SocketStream) -> None:
    """One HTTP/1.1 request, and its first line as the answer."""
    async with stream:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some(4096) or b"\r\n\r\n"
        body = request.split(b"\r\n")[0]
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.fixture
async def http(nursery: trio.Nursery) -> int:
    """The port of a web server at all addresses of this machine."""
    (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="0.0.0.0"))
    return listener.socket.getsockname()[1]


@pytest.fixture
def own() -> str:
    """An address of this machine that is not loopback's, as a node on the same LAN has."""
    return next(iter(own_addresses(ipv6=False)), "") or pytest.skip("this machine has no address")


@pytest.fixture
async def socks(
    nursery: trio.Nursery,
    store: Store,
    put: Put,
    log: Log,
    link: Callable[..., Any],
    make_service: Callable[..., Service],
    make_pod: Callable[..., Pod],
    http: int,
    shout: int,
    own: str,
) -> SocksServer:
    """Of gw-a; services `web` and `shout` with pods there, `far` with one on gw-b, `gone` with none. gw-b is at `own`."""

    async def far(peer: str, opening: Any, stream: Any) -> None:
        await there.serve_tunnel(peer, opening, stream)

    ports = (ServicePort(80, target_port=http),)
    await put(make_service(ports=ports), make_pod(ip="127.0.0.1"))
    await put(make_service("far", ip="9.251.1.3", ports=ports), make_service("gone", ip="9.251.1.4", ports=ports))
    await put(make_pod("far-0", "gw-b", "127.64.0.2", labels={"app": "far"}))
    await put(make_service("shout", ip="9.251.1.5", ports=(ServicePort(7, target_port=shout),)))
    await put(make_pod("shout-0", ip="127.0.0.1", labels={"app": "shout"}))
    node = Node("v1", "Node", ObjectMeta(name="gw-b"), status=NodeStatus((NodeAddress("InternalIP", own),)))
    await store.write(Create(key(Node, "gw-b"), "uid-gw-b", dump(node), dump(node.status)))
    make = partial(Mesh, store=store, root=False, log=log, random=Random(1))
    there = make(node="gw-b", open_stream=link(far), dns="127.97.0.53:0", loopback="127.97.0.0/16")
    await nursery.start(there.run)
    here = make(node="gw-a", open_stream=link(far), dns="127.96.0.53:0", socks5="127.0.0.1:0")
    await nursery.start(here.run)
    assert here.socks is not None
    return here.socks


async def curl(socks: SocksServer, url: str) -> subprocess.CompletedProcess[bytes]:
    argv = [
        "curl",
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--socks5-hostname",
        str(socks.address),
        "--noproxy",
        "",
        url,
    ]
    with trio.fail_after(60):
        return await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)


@pytest.mark.tool("curl")
async def test_curl_reaches_services_and_nodes_by_name(socks: SocksServer, http: int) -> None:
    assert (await curl(socks, f"http://{WEB}/near")).stdout == b"GET /near HTTP/1.1"
    done = await curl(socks, "http://far.default.svc.cluster.local/far")
    assert done.stdout == b"GET /far HTTP/1.1", done
    assert (await curl(socks, f"http://gw-b.node.edged:{http}/node")).stdout == b"GET /node HTTP/1.1"
    assert socks.statistics.accepted == 3


@pytest.mark.tool("curl")
@pytest.mark.parametrize("host", ["nobody.default.svc.cluster.local", "www.example.org", "127.0.0.1:22", "gw-z.node.edged"])
async def test_curl_is_told_that_there_is_no_such_place(socks: SocksServer, host: str) -> None:
    done = await curl(socks, f"http://{host}/")
    assert done.returncode == 97, "curl: the proxy refused"
    assert b"(4)" in done.stderr
    assert socks.statistics.unknown == 1


@pytest.mark.tool("curl")
async def test_curl_is_told_that_nobody_answers(socks: SocksServer, free_port: int) -> None:
    for host in ("gone.default.svc.cluster.local", f"gw-b.node.edged:{free_port}"):
        done = await curl(socks, f"http://{host}/")
        assert (done.returncode, b"(5)" in done.stderr) == (97, True)


async def test_both_ways_and_half_closed(socks: SocksServer, receive_all: Callable[..., Awaitable[bytes]]) -> None:
    name = b"shout.default.svc.cluster.local"
    with trio.fail_after(60):
        async with await trio.open_tcp_stream(*socks.address) as client:
            await client.send_all(b"\x05\x01\x00")
            assert await client.receive_some(2) == b"\x05\x00"
            await client.send_all(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + b"\x00\x07")
            assert await client.receive_some(10) == b"\x05\x00\x00\x01" + bytes(6)
            await client.send_all(b"hello")
            await client.send_eof()
            assert await receive_all(client) == b"HELLO"


async def test_nonsense_ends_the_connection(socks: SocksServer, until: Until) -> None:
    with trio.fail_after(60):
        async with await trio.open_tcp_stream(*socks.address) as client:
            await client.send_all(b"\x05\x01\x02")
            assert await client.receive_some(2) == b"\x05\xff"
            assert await client.receive_some(1) == b""
        async with await trio.open_tcp_stream(*socks.address) as client:
            await client.send_eof()
        await until(lambda: (socks.statistics.refused, socks.statistics.open) == (2, 0))


async def test_a_silent_client_is_closed(socks: SocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socksserver, "ASK_S", 0.05)
    with trio.fail_after(60):
        async with await trio.open_tcp_stream(*socks.address) as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)


async def test_strangers_and_one_client_too_many_are_reset(socks: SocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_reset() -> None:
        async with await trio.open_tcp_stream(*socks.address) as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)

    with trio.fail_after(60):
        monkeypatch.setattr(socks, "_allows", lambda host, now: False)
        await is_reset()
        monkeypatch.undo()
        monkeypatch.setattr(socksserver, "MAX_CLIENTS", 0)
        await is_reset()
    assert socks.statistics.refused == 2


async def test_an_address_that_is_not_ours_is_unreachable() -> None:
    made = SocksServer(Address("198.51.100.1", 1080), *[lambda: None] * 2, None, lambda host, now: True)  # type: ignore[arg-type]
    with pytest.raises(UnreachableError, match=r"SOCKS5 cannot listen on 198\.51\.100\.1:1080"):
        await made.run()
