from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError
from edged.kit.log import Log
from edged.mesh import tunnel
from edged.mesh.names import Name
from edged.mesh.table import TCP, Endpoint, Entry, Port, Served, Table
from edged.mesh.tunnel import TunnelServer
from edged.wire.peer import Tunnel

WEB = Name("default", "web")
ASK = Tunnel("default", "web", 80, "web-0")
Receive = Callable[[HalfCloseableStream], Awaitable[bytes]]
Link = Callable[..., Callable[[str, Tunnel], Awaitable[HalfCloseableStream]]]


@pytest.fixture
def serving(log: Log) -> Callable[[int], TunnelServer]:
    def make(port: int) -> TunnelServer:
        endpoints = (Endpoint("web-0", "gw-b", "127.0.0.2", port), Endpoint("web-1", "gw-c", "127.0.0.2", port))
        ports = {Port(TCP, 80): Served("a", 0, endpoints), Port(TCP, 81): Served("b", 0, ())}
        entry = Entry(WEB, "9.251.1.2", headless=False, ports=ports, hosts=())
        table = Table("gw-b", "9.251.0.0/16", {WEB: entry}, {entry.address: entry}, frozenset({"default"}), ())
        return TunnelServer(lambda: table, log)

    return make


Serving = Callable[[int], TunnelServer]


async def test_a_declared_pod_is_reached_and_half_close_is_kept(
    serving: Serving, link: Link, shout: int, receive_all: Receive, until: Callable[..., Awaitable[None]]
) -> None:
    server = serving(shout)
    with trio.fail_after(60):
        stream = await link(server.serve)("gw-b", ASK)
        assert server.statistics.open == 1
        await stream.send_all(b"hello")
        await stream.send_eof()
        assert await receive_all(stream) == b"HELLO"
        await stream.aclose()
        await until(lambda: server.statistics.open == 0)
    assert server.statistics.accepted == 1


@pytest.mark.parametrize(
    "opening",
    [
        Tunnel("default", "web", 80, "web-1"),
        Tunnel("default", "web", 80, "web-2"),
        Tunnel("default", "web", 80, ""),
        Tunnel("default", "web", 81, "web-0"),
        Tunnel("default", "web", 22, "web-0"),
        Tunnel("default", "web", 8080, "web-0"),
        Tunnel("default", "web", -1, "web-0"),
        Tunnel("default", "db", 80, "web-0"),
        Tunnel("other", "web", 80, "web-0"),
        Tunnel("default", "127.0.0.1", 2375, "169.254.169.254"),
        Tunnel("", "", 0, "\x00"),
    ],
)
async def test_all_else_is_refused_and_counted(serving: Serving, link: Link, shout: int, opening: Tunnel) -> None:
    server = serving(shout)
    with trio.fail_after(60), pytest.raises(DeniedError, match="no ready pod"):
        await link(server.serve)("gw-b", opening)
    assert server.statistics.refused_undeclared == 1
    assert server.statistics.accepted == 0


async def test_a_pod_that_does_not_listen_is_refused_with_the_reason(serving: Serving, link: Link, dead_port: int) -> None:
    server = serving(dead_port)
    with trio.fail_after(60), pytest.raises(DeniedError, match=r"pod web-0: .*Connection refused"):
        await link(server.serve)("gw-b", ASK)
    assert server.statistics.failed_dials == 1


async def test_calls_are_bounded(
    serving: Serving, link: Link, shout: int, receive_all: Receive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "MAX_TUNNELS", 1)
    server = serving(shout)
    open_stream = link(server.serve)
    with trio.fail_after(60):
        first = await open_stream("gw-b", ASK)
        with pytest.raises(DeniedError, match="no more are taken"):
            await open_stream("gw-b", ASK)
        await first.send_eof()
        assert await receive_all(first) == b""
    assert server.statistics.refused_full == 1


async def test_a_peer_that_leaves_before_the_answer_harms_nobody(serving: Serving, shout: int) -> None:
    server = serving(shout)
    here, there = trio.testing.memory_stream_pair()
    await here.aclose()
    with trio.fail_after(60):
        await server.serve("gw-a", ASK, there)
        await server.serve("gw-a", Tunnel("default", "web", 81, "x"), trio.testing.memory_stream_pair()[1])
    assert server.statistics.open == 0
