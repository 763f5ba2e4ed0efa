import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from dnslib import RCODE, DNSRecord

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.mesh import resolvers, server
from edged.mesh.resolvers import Resolvers, receive_message
from edged.mesh.server import DnsServer
from edged.mesh.table import Table, build
from edged.model.core import Pod, Service

WEB = "web.default.svc.cluster.local"


@pytest.fixture
def table(make_service: Callable[..., Service], make_pod: Callable[..., Pod]) -> Table:
    pods = [make_pod(f"many-{number}", ip=f"172.17.0.{number}", labels={"app": "many"}) for number in range(100)]
    return build([make_service(), make_service("many", ip="None")], pods, "gw-a")


class Running:
    """A DNS server with its address, and how a client asks it."""

    def __init__(self, server: DnsServer, address: tuple[str, int]) -> None:
        self.server, self.address = server, address

    async def exchange(self, message: bytes) -> bytes:
        with trio.fail_after(60), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.connect(self.address)
            await sock.send(message)
            return await sock.recv(65535)

    async def udp(self, name: str, type_: str = "A") -> DNSRecord:
        return DNSRecord.parse(await self.exchange(bytes(DNSRecord.question(name, type_).pack())))

    async def dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.address)

    async def tcp(self, *names: str) -> list[DNSRecord]:
        """All questions at once on one connection, then all answers."""
        with trio.fail_after(60):
            async with await self.dial() as stream:
                for name in names:
                    message = bytes(DNSRecord.question(name).pack())
                    await stream.send_all(len(message).to_bytes(2, "big") + message)
                messages = [await receive_message(stream) for _ in names]
        return [DNSRecord.parse(message) for message in messages]


@pytest.fixture
async def running(nursery: trio.Nursery, table: Table, upstream: Any) -> AsyncIterator[Running]:
    made = DnsServer(Address("127.0.0.1", 0), lambda: table, Resolvers([upstream.address], "127.0.0.1", Random(1)))
    return Running(made, await nursery.start(made.run))


def values(reply: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


async def test_a_service_over_udp_and_tcp(running: Running) -> None:
    assert values(await running.udp(WEB)) == ["9.251.1.2"]
    assert [values(reply) for reply in await running.tcp(WEB, WEB)] == [["9.251.1.2"]] * 2
    assert running.server.statistics.queries == 3
    assert running.server.statistics.forwarded == 0


async def test_other_names_over_udp_and_tcp(running: Running) -> None:
    assert values(await running.udp("example.org")) == ["192.0.2.0"]
    assert [values(reply) for reply in await running.tcp("example.org", WEB)] == [["192.0.2.0"], ["9.251.1.2"]]
    assert running.server.statistics.forwarded == 2


async def test_a_long_answer_is_asked_again_by_tcp(running: Running) -> None:
    name = "many.default.svc.cluster.local"
    assert (await running.udp(name)).header.tc == 1
    (whole,) = await running.tcp(name)
    assert len(whole.rr) == 100


async def test_a_long_answer_of_a_resolver_too(running: Running, upstream: Any, resolve: Callable[..., bytes]) -> None:
    upstream.answer = lambda query: [resolve(query, 100)]
    cut = await running.udp("example.org")
    assert (cut.header.tc, len(cut.pack()) <= 512) == (1, True)
    (whole,) = await running.tcp("example.org")
    assert len(whole.rr) == 100


async def test_no_resolver_answers(nursery: trio.Nursery, table: Table, dead_port: int) -> None:
    made = DnsServer(Address("127.0.0.1", 0), lambda: table, Resolvers([f"127.0.0.1:{dead_port}"], "127.0.0.1", Random(1)))
    running = Running(made, await nursery.start(made.run))
    assert (await running.udp("example.org")).header.rcode == RCODE.SERVFAIL
    (reply,) = await running.tcp("example.org")
    assert reply.header.rcode == RCODE.SERVFAIL
    assert values(await running.udp(WEB)) == ["9.251.1.2"]
    assert made.statistics.unanswered == 2


async def test_a_slow_resolver_stalls_nobody(nursery: trio.Nursery, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "TRY_S", 3600)
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        await silent.bind(("127.0.0.1", 0))
        asked = Resolvers([f"127.0.0.1:{silent.getsockname()[1]}"], "127.0.0.1", Random(1))
        made = DnsServer(Address("127.0.0.1", 0), lambda: table, asked)
        running = Running(made, await nursery.start(made.run))
        with trio.fail_after(60):
            async with trio.open_nursery() as waiting:
                waiting.start_soon(running.udp, "example.org")
                await silent.recv(4096)
                assert values(await running.udp(WEB)) == ["9.251.1.2"]
                waiting.cancel_scope.cancel()


async def test_nonsense_stops_nothing(running: Running) -> None:
    random = Random(7)
    with trio.fail_after(60), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect(running.address)
        for _ in range(200):
            await sock.send(random.randbytes(random.randint(0, 60)))
        for _ in range(20):
            async with await running.dial() as stream:
                await stream.send_all(random.randbytes(random.randint(1, 60)))
                await stream.send_eof()
    assert values(await running.udp(WEB)) == ["9.251.1.2"]
    broken = bytes(DNSRecord.question(WEB).pack())[:-1]
    assert DNSRecord.parse(await running.exchange(broken)).header.rcode == RCODE.FORMERR


async def test_tcp_clients_are_bounded(
    running: Running, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Awaitable[None]]
) -> None:
    monkeypatch.setattr(server, "MAX_STREAMS", 1)
    with trio.fail_after(60):
        async with await running.dial() as first:
            await until(lambda: running.server._streams == 1)
            async with await running.dial() as second:
                with pytest.raises(trio.BrokenResourceError):
                    await second.receive_some(1)
            await first.send_eof()
            assert await first.receive_some(1) == b""
        await until(lambda: running.server._streams == 0)
    assert len(await running.tcp(WEB)) == 1


async def test_an_idle_tcp_client_is_closed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STREAM_IDLE_S", 0.05)
    with trio.fail_after(60):
        async with await running.dial() as stream:
            assert await stream.receive_some(1) == b""


async def test_a_port_that_is_taken_is_said(table: Table) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.RaisesGroup(
            pytest.RaisesExc(UnreachableError, match=f"DNS cannot listen on 127.0.0.1:{port}: .*in use"), allow_unwrapped=True
        ):
            await DnsServer(Address("127.0.0.1", port), lambda: table, Resolvers([], "127.0.0.1", Random(1))).run()
