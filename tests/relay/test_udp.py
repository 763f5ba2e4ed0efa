import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.kit.log import Log
from edged.kit.udp import UdpSocket
from edged.wire.relayudp import MAGIC, NO_COOKIE, SIZE, Here, Where, opened, sealed
from relay.udp import UdpPorts

DEADLINE_S = 30.0
HOST = "127.0.0.1"


class Node:
    """A node that proves its socket's address at ports, and sends and receives there."""

    def __init__(self, ports: UdpPorts, session: int, host: str) -> None:
        self.udp = UdpSocket(Address(host, 0))
        self.host, self.session = host, session
        self.key = ports.forwarder.join(session)
        self.asked = 0

    async def ask(self, port: int, cookie: bytes = NO_COOKIE) -> Here:
        self.asked += 1
        self.udp.send(Address(self.host, port), [sealed(Where(self.session, self.asked, cookie), self.key)])
        ((data, source),) = await self.received(1)
        assert source == Address(self.host, port)
        answer = opened(data, self.key)
        assert isinstance(answer, Here)
        assert answer.seen == self.udp.address
        return answer

    async def prove(self, question: int, port: int) -> None:
        assert (await self.ask(port, (await self.ask(question)).cookie)).bound

    async def received(self, count: int) -> list[tuple[bytes, Address]]:
        found: list[tuple[bytes, Address]] = []
        with trio.fail_after(DEADLINE_S):
            while len(found) < count:
                await self.udp.readable()
                while (got := self.udp.receive()) is not None:
                    data, segment, source = got
                    found += [(data[at : at + segment], source) for at in range(0, len(data), max(segment, 1))]
        return found


Made = Callable[..., AbstractAsyncContextManager[tuple[UdpPorts, Any]]]


@pytest.fixture
def made() -> Made:
    @asynccontextmanager
    async def making(host: str = HOST, **options: Any) -> AsyncIterator[tuple[UdpPorts, list[Node]]]:
        chosen = {"questions": (0, 0), "forwards": range(1), "most": 100, "rate": 1e9, "log": Log(level="error"), **options}
        ports = UdpPorts(host, **chosen)
        nodes = [Node(ports, session, host) for session in range(3)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ports.run)
            yield ports, nodes
            nursery.cancel_scope.cancel()
        for node in nodes:
            node.udp.close()

    return making


@pytest.mark.parametrize("host", [HOST, "::1"])
async def test_bursts_go_from_one_node_to_the_other_and_keep_their_borders(made: Made, host: str) -> None:
    try:
        UdpSocket(Address(host, 0)).close()
    except UnreachableError:
        return  # a kernel without IPv6
    async with made(host) as (ports, (one, other, _)):
        question, again = ports.forwarder.questions
        assert question != again
        port = ports.forwarder.allot(0, 1)
        await one.prove(question, port)
        await other.prove(again, port)
        sizes = [1350] * 100 + [7, 1350, SIZE, 1, SIZE, SIZE, 3]
        sent = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
        one.udp.send(Address(host, port), sent)
        assert await other.received(len(sent)) == [(data, Address(host, port)) for data in sent]
        other.udp.send(Address(host, port), sent[:5])
        assert await one.received(5) == [(data, Address(host, port)) for data in sent[:5]]
        assert ports.forwarder.bytes == sum(sizes) + 5 * 1350
        assert ports.forwarder.datagrams == len(sizes) + 5
        assert not ports.forwarder.dropped


async def test_a_question_that_ends_a_burst_is_answered_and_the_burst_goes_on(made: Made) -> None:
    async with made() as (ports, (one, other, _)):
        port = ports.forwarder.allot(0, 1)
        for node in (one, other):
            await node.prove(ports.forwarder.questions[0], port)
        one.asked += 1
        sent = [bytes([number]) * 1350 for number in range(5)]
        one.udp.send(Address(HOST, port), [*sent, sealed(Where(0, one.asked), one.key)])
        assert [data for data, _ in await other.received(5)] == sent
        ((answer, _),) = await one.received(1)
        assert isinstance(opened(answer, one.key), Here)


async def test_strangers_and_nonsense_get_nothing(made: Made) -> None:
    async with made() as (ports, (one, other, third)):
        port = ports.forwarder.allot(0, 1)
        await one.prove(ports.forwarder.questions[0], port)
        counts = ports.forwarder.dropped
        for destination in (port, *ports.forwarder.questions):
            for data in (b"", b"x" * 1200, MAGIC.ljust(SIZE, b"x"), sealed(Where(2, 1), bytes(32))):
                third.udp.send(Address(HOST, destination), [data]) if data else socket_sends_nothing(destination)
        with trio.fail_after(DEADLINE_S):
            while sum(counts.values()) < 12:  # noqa: ASYNC110  the ports tell nobody when they count
                await trio.sleep(0.01)
        assert counts == {"empty": 3, "stranger": 3, "forged": 6}
        await other.prove(ports.forwarder.questions[0], port)
        one.udp.send(Address(HOST, port), [b"good"])
        assert [data for data, _ in await other.received(1)] == [b"good"]
        assert third.udp.receive() is None
        assert one.udp.receive() is None


def socket_sends_nothing(port: int) -> None:
    """An empty datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", (HOST, port))


async def test_ports_come_out_of_the_range_past_those_that_are_taken_and_go_back(made: Made) -> None:
    first = UdpSocket(Address(HOST, 0))
    low = first.address.port
    async with made(forwards=range(low, low + 2)) as (ports, nodes):
        found = ports.forwarder.allot(0, 1)
        if found:  # nobody else had the second one
            assert found == low + 1
            assert ports.forwarder.allot(0, 2) == 0
            ports.forwarder.part(0, 1)
        first.close()
        assert ports.forwarder.allot(1, 2) in (low, low + 1)
        ports.forwarder.leave(nodes[1].session)
        UdpSocket(Address(HOST, low)).close()  # free again


async def test_many_ports_are_served_by_one_task(made: Made) -> None:
    async with made(forwards=range(1)) as (ports, (one, other, _)):
        tasks = trio.lowlevel.current_statistics().tasks_living
        ends = [(ports.forwarder.join(session), session) for session in range(10, 90)]
        found = {ports.forwarder.allot(0, session): key for key, session in ends}
        assert len(found) == 80
        shared = ports.forwarder.allot(0, 1)
        question = ports.forwarder.questions[0]
        for node in (one, other):
            await node.prove(question, shared)
        cookie = (await one.ask(question)).cookie
        for port in found:
            one.asked += 1
            one.udp.send(Address(HOST, port), [sealed(Where(0, one.asked, cookie), one.key)])
        answers = [opened(data, one.key) for data, _ in await one.received(80)]
        assert all(isinstance(answer, Here) and answer.bound for answer in answers)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        one.udp.send(Address(HOST, shared), [b"x"])
        assert [data for data, _ in await other.received(1)] == [b"x"]


async def test_ports_for_questions_that_are_taken_are_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        with pytest.raises(UnreachableError, match="in use"):
            UdpPorts(
                HOST,
                questions=(0, taken.getsockname()[1]),
                forwards=range(1),
                most=1,
                rate=1e9,
                log=Log(level="error"),
            )
