"""The caller's and the callee's side of datagrams, with real sockets at both ends."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.kit.log import Log
from edged.mesh import datagrams, udp
from edged.mesh.balancer import Balancer
from edged.mesh.datagrams import Datagrams
from edged.mesh.flows import FlowTable
from edged.mesh.flowserver import FlowServer
from edged.mesh.names import Name
from edged.mesh.table import UDP, Called, Port, Table, build
from edged.model.core import Pod, Service, ServicePort
from edged.wire.peer import MAX_DATAGRAM

DNS = Called(Name("default", "dns"), Port(UDP, 53))
ECHO = "127.0.0.2"
Until = Callable[[Callable[[], bool]], Awaitable[None]]


class Client:
    """A program that sends datagrams to a door."""

    def __init__(self, door: tuple[str, int]) -> None:
        self.sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.door = door

    async def ask(self, data: bytes) -> bytes:
        await self.sock.sendto(data, self.door)
        with trio.fail_after(60):
            answer, sender = await self.sock.recvfrom(65535)
        assert sender == self.door, "answers come from where was asked"
        return bytes(answer)


class Node:
    """gw-a, on which clients are, with a door to a service; and gw-b behind a link."""

    def __init__(self, log: Log, link: Callable[..., Any], tables: dict[str, Table]) -> None:
        self.tables = tables
        self.server = FlowServer(lambda: self.tables["gw-b"], log)
        self.opened = 0
        self._join = link(self.server.serve)
        self.balancer = Balancer("gw-a", Random(1))
        self.datagrams = Datagrams(lambda: self.tables["gw-a"], self.balancer, self.open_stream, log)
        self.door = udp.bound("127.0.0.1", 0)
        self.clients: list[Client] = []
        self.leads = DNS

    async def open_stream(self, node: str, opening: Any, head: bytes) -> Any:
        if node != "gw-b":
            raise UnreachableError(f"no link to {node}")
        self.opened += 1
        return await self._join(node, opening)

    def client(self) -> Client:
        self.clients.append(Client(self.door.getsockname()))
        return self.clients[-1]

    def close(self) -> None:
        udp.close(self.door)
        for client in self.clients:
            client.sock.close()


@pytest.fixture
async def start(
    nursery: trio.Nursery,
    log: Log,
    link: Callable[..., Any],
    make_service: Callable[..., Service],
    make_pod: Callable[..., Pod],
) -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """A node whose service is answered by these pods: (name, node, port)."""
    made = []

    async def start(*pods: tuple[str, str, int], limit: int = 1024, idle: float = 60.0) -> Node:
        node = Node(log, link, {})
        made.append(node)
        node.tables |= tables(make_service, make_pod, pods)
        node.datagrams._flows = FlowTable(limit, idle)
        node.server._flows = FlowTable(limit, 2 * idle)
        await nursery.start(node.datagrams.run)
        nursery.start_soon(node.datagrams.serve, node.door, lambda _: node.leads)
        return node

    yield start
    for node in made:
        node.close()


def tables(make_service: Callable[..., Service], make_pod: Callable[..., Pod], pods: Any) -> dict[str, Table]:
    service = make_service("dns", ports=(ServicePort(53, "dns", "UDP", pods[0][2] if pods else 9),))
    made = [make_pod(name, node, ECHO, labels={"app": "dns"}) for name, node, _ in pods]
    return {node: build([service], made, node) for node in ("gw-a", "gw-b")}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


Start = Callable[..., Awaitable[Node]]


@pytest.mark.parametrize("where", ["gw-a", "gw-b"])
async def test_a_flow_keeps_its_source_port_and_its_datagrams_their_bounds(start: Start, echo: int, where: str) -> None:
    node = await start(("dns-0", where, echo))
    first, second = node.client(), node.client()
    ports = {(await first.ask(b"%d" % number)).split()[0] for number in range(5)}
    ports |= {(await second.ask(b"x")).split()[0]}
    assert len(ports) == 2, "a source port a client"
    for size in (0, 1, 1472, 9000, 60_000):
        data = os.urandom(size)
        assert (await first.ask(data)).partition(b" ")[2] == data
    data = os.urandom(MAX_DATAGRAM)
    assert await first.ask(data) == data
    assert node.datagrams.statistics.open == 2
    assert node.server.statistics.open == (2 if where == "gw-b" else 0)
    assert node.opened == (1 if where == "gw-b" else 0), "one stream a pair of nodes"


@pytest.mark.parametrize("where", ["gw-a", "gw-b"])
async def test_many_flows_of_one_datagram_leak_nothing(start: Start, echo: int, where: str, until: Until) -> None:
    node = await start(("dns-0", where, echo), limit=16)
    held = descriptors()
    for number in range(300):
        client = node.client()
        assert (await client.ask(b"%d" % number)).endswith(b" %d" % number)
        client.sock.close()
    statistics = node.datagrams.statistics
    # The kernel may give a port again: then that is the flow of before, when it is still there.
    assert (statistics.accepted > 200, statistics.open, statistics.accepted - statistics.evicted) == (True, 16, 16)
    await until(lambda: node.server.statistics.open == (16 if where == "gw-b" else 0))
    assert descriptors() <= held + 16
    if where == "gw-b":
        assert (node.server.statistics.accepted, node.opened) == (statistics.accepted, 1)


@pytest.mark.parametrize("where", ["gw-a", "gw-b"])
async def test_idle_flows_are_freed_and_may_come_again(
    start: Start, echo: int, where: str, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "SWEEP_S", 0.05)
    node = await start(("dns-0", where, echo), idle=0.1)
    client = node.client()
    await client.ask(b"x")
    await until(lambda: node.datagrams.statistics.open == 0)
    await until(lambda: node.server.statistics.open == 0)
    assert (await client.ask(b"y")).endswith(b" y")


async def test_a_pod_that_goes_is_left_for_another(start: Start, echo: int, make_service: Any, make_pod: Any) -> None:
    node = await start(("dns-0", "gw-a", echo))
    client = node.client()
    port = (await client.ask(b"x")).split()[0]
    node.tables |= tables(make_service, make_pod, [("dns-1", "gw-b", echo)])
    assert (await client.ask(b"x")).split()[0] != port
    assert (node.datagrams.statistics.open, node.server.statistics.accepted) == (1, 1)


async def test_nobody_there_is_counted(start: Start, until: Until) -> None:
    node = await start()
    client = node.client()
    await client.sock.sendto(b"x", client.door)
    await until(lambda: node.datagrams.statistics.unreachable == 1)
    assert node.datagrams.statistics.open == 0


async def test_a_node_that_cannot_be_reached_is_left_for_another(
    start: Start, echo: int, make_service: Any, make_pod: Any, until: Until
) -> None:
    node = await start(("dns-0", "gw-c", echo))
    client = node.client()
    await client.sock.sendto(b"x", client.door)
    await until(lambda: node.datagrams.statistics.accepted == 1 and node.datagrams.statistics.open == 0)
    node.tables |= tables(make_service, make_pod, [("dns-0", "gw-c", echo), ("dns-1", "gw-b", echo)])
    assert (await client.ask(b"y")).endswith(b" y")


async def test_what_the_other_node_refuses_ends_the_flow(start: Start, echo: int, until: Until) -> None:
    node = await start(("dns-0", "gw-b", echo))
    node.tables["gw-b"] = node.tables["gw-b"]._replace(entries={})
    client = node.client()
    await client.sock.sendto(b"x", client.door)
    await until(lambda: node.server.statistics.refused_undeclared == 1 and node.datagrams.statistics.open == 0)


async def test_a_pod_that_does_not_listen_ends_the_flow(start: Start, until: Until) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((ECHO, 0))
        port = free.getsockname()[1]
    node = await start(("dns-0", "gw-a", port))
    client = node.client()
    await client.sock.sendto(b"x", client.door)
    await until(lambda: node.datagrams.statistics.accepted == 1 and node.datagrams.statistics.open == 0)


async def test_flows_end_with_their_door(start: Start, echo: int, until: Until) -> None:
    node = await start(("dns-0", "gw-b", echo))
    await node.client().ask(b"x")
    udp.close(node.door)
    await until(lambda: node.datagrams.statistics.open == 0)
    await until(lambda: node.server.statistics.open == 0)


async def test_a_link_that_goes_ends_its_flows_and_the_next_datagram_finds_another_way(
    start: Start, echo: int, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start(("dns-0", "gw-b", echo))
    streams: list[Any] = []
    opened = node.open_stream

    async def remembered(name: str, opening: Any, head: bytes) -> Any:
        streams.append(await opened(name, opening, head))
        return streams[-1]

    monkeypatch.setattr(node.datagrams, "_open_stream", remembered)
    client = node.client()
    await client.ask(b"x")
    await trio.aclose_forcefully(streams[0])
    await until(lambda: node.datagrams.statistics.open == 0 and node.server.statistics.open == 0)
    assert (await client.ask(b"y")).endswith(b" y")
    assert len(streams) == 2


async def test_a_port_that_calls_somebody_else_after_a_while_is_another_flow(
    start: Start, echo: int, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start(("dns-0", "gw-a", echo))
    client = node.client()
    await client.ask(b"1")
    node.leads = Called(Name("default", "other"), DNS.port)
    assert (await client.ask(b"2")).endswith(b" 2"), "it is not asked for each datagram whom a client calls"
    monkeypatch.setattr(datagrams, "RECALL_S", 0.0)
    await client.sock.sendto(b"3", client.door)
    await until(lambda: node.datagrams.statistics.unreachable == 1)
    assert node.datagrams.statistics.open == 0
