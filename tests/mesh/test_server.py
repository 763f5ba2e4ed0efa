import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import trio
from dnslib import RCODE, DNSRecord

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.mesh import resolvers, server, zone
from edged.mesh.forwarder import Forwarder
from edged.mesh.resolvers import Resolvers, receive_message
from edged.mesh.server import DnsServer
from edged.mesh.table import build
from edged.mesh.zone import Zone
from edged.model.core import Pod, Service

WEB = "web.default.svc.cluster.local"


@pytest.fixture
def names(make_service: Callable[..., Service], make_pod: Callable[..., Pod]) -> Zone:
    pods = [make_pod(f"many-{number}", ip=f"172.17.0.{number}", labels={"app": "many"}) for number in range(100)]
    services = [make_service(), make_service("many", ip="None")]
    return zone.build(build(services, pods, "gw-a"), services, pods, ())


def serving(names: Zone, *addresses: str, allows: Callable[[str, float], bool] = lambda host, now: True) -> DnsServer:
    forwarder = Forwarder(Resolvers(addresses, "127.0.0.1", Random(1)))
    return DnsServer(Address("127.0.0.1", 0), lambda: names, forwarder, allows)


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
async def running(nursery: trio.Nursery, names: Zone, upstream: Any) -> AsyncIterator[Running]:
    made = serving(names, upstream.address)
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
    upstream.answer = lambda query: [resolve(query, 60)]
    cut = await running.udp("example.org")
    assert (cut.header.tc, len(cut.pack()) <= 512) == (1, True)
    (whole,) = await running.tcp("example.org")
    assert len(whole.rr) == 60
    assert len(upstream.heard) == 1, "the whole answer is kept"


async def test_no_resolver_answers(nursery: trio.Nursery, names: Zone, dead_port: int) -> None:
    made = serving(names, f"127.0.0.1:{dead_port}")
    running = Running(made, await nursery.start(made.run))
    assert (await running.udp("example.org")).header.rcode == RCODE.SERVFAIL
    (reply,) = await running.tcp("example.org")
    assert reply.header.rcode == RCODE.SERVFAIL
    assert values(await running.udp(WEB)) == ["9.251.1.2"]
    assert made._forwarder.statistics.unanswered == 2


async def test_a_slow_resolver_stalls_nobody(nursery: trio.Nursery, names: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "TRY_S", 3600)
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        await silent.bind(("127.0.0.1", 0))
        made = serving(names, f"127.0.0.1:{silent.getsockname()[1]}")
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
                with suppress(trio.BrokenResourceError):  # it may have heard enough
                    await stream.send_all(random.randbytes(random.randint(1, 60)))
                    await stream.send_eof()
    assert values(await running.udp(WEB)) == ["9.251.1.2"]
    broken = bytes(DNSRecord.question(WEB).pack())[:-1]
    assert DNSRecord.parse(await running.exchange(broken)).header.rcode == RCODE.FORMERR


async def test_other_machines_are_not_answered(
    nursery: trio.Nursery, names: Zone, until: Callable[..., Awaitable[None]]
) -> None:
    asked: list[str] = []

    def nobody(host: str, now: float) -> bool:
        asked.append(host)
        return False

    made = serving(names, allows=nobody)
    running = Running(made, await nursery.start(made.run))
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect(running.address)
        await sock.send(bytes(DNSRecord.question(WEB).pack()))
        await until(lambda: made.statistics.refused == 1)
        with pytest.raises(BlockingIOError):
            sock._sock.recv(4096)
    with trio.fail_after(60):
        async with await running.dial() as stream:
            await stream.send_all(b"\0\x2f" + bytes(DNSRecord.question(WEB).pack()))
            assert await stream.receive_some(1) == b""
    assert asked == ["127.0.0.1"] * 2


async def test_questions_that_wait_are_bounded(nursery: trio.Nursery, names: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_WAITING", 0)
    made = serving(names)
    running = Running(made, await nursery.start(made.run))
    assert (await running.udp("example.org")).header.rcode == RCODE.SERVFAIL


async def test_a_flood_leaves_others_their_turn(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BURST", 2)
    with trio.fail_after(60), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect(running.address)
        for _ in range(50):
            await sock.send(bytes(DNSRecord.question(WEB).pack()))
        for _ in range(50):
            await sock.recv(4096)
    assert running.server.statistics.queries == 50


async def test_a_long_question_by_tcp_ends_the_connection(running: Running) -> None:
    with trio.fail_after(60):
        async with await running.dial() as stream:
            await stream.send_all(b"\xff\xff")
            assert await stream.receive_some(1) == b""


async def test_a_tcp_client_is_closed_in_the_end(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STREAM_S", 0.05)
    with trio.fail_after(60):
        async with await running.dial() as stream:
            assert await stream.receive_some(1) == b""


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


async def test_a_port_that_is_taken_is_said(names: Zone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.RaisesGroup(
            pytest.RaisesExc(UnreachableError, match=f"DNS cannot listen on 127.0.0.1:{port}: .*in use"), allow_unwrapped=True
        ):
            made = serving(names)
            made._port = port
            await made.run()
