from collections.abc import Iterator

import pytest
import trio

from edged.hub.sockets import MOST, Sockets
from edged.kit.address import Address
from edged.kit.udp import UdpSocket

DEADLINE_S = 30.0


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets("127.0.0.1")
    yield made
    made.close_all()


@pytest.fixture
def other() -> Iterator[UdpSocket]:
    made = UdpSocket(Address("127.0.0.1", 0))
    yield made
    made.close()


async def heard(other: UdpSocket) -> tuple[bytes, Address]:
    with trio.fail_after(DEADLINE_S):
        while True:
            await other.readable()
            received = other.receive()
            if received is not None:
                return received[0], received[2]


async def test_each_is_another_port_and_all_are_heard(sockets: Sockets, other: UdpSocket) -> None:
    numbers = sockets.open(5)
    assert len(set(numbers)) == 5
    sources = {}
    for number in numbers:
        sockets.send(number, other.address, [b"%d" % number])
        data, sources[number] = await heard(other)
        assert data == b"%d" % number
    assert len(set(sources.values())) == 5
    other.send(sources[numbers[3]], [b"back"])
    with trio.fail_after(DEADLINE_S):
        ((number, udp),) = await sockets.readable()
    assert number == numbers[3]
    assert udp.receive() == (b"back", 4, other.address)
    assert udp.receive() is None


async def test_closed_ones_say_and_hear_nothing(sockets: Sockets, other: UdpSocket) -> None:
    first, second = sockets.open(2)
    sockets.send(first, other.address, [b"x"], hops=1)
    _, source = await heard(other)
    sockets.close([first, 12345])
    sockets.send(first, other.address, [b"y"])
    other.send(source, [b"back"])
    sockets.send(second, other.address, [b"z"])
    data, source = await heard(other)
    assert data == b"z"
    other.send(source, [b"back"])
    with trio.fail_after(DEADLINE_S):
        assert [number for number, _ in await sockets.readable()] == [second]


async def test_who_waits_is_woken_by_the_first_one(sockets: Sockets, other: UdpSocket, nursery: trio.Nursery) -> None:
    found: list[int] = []

    async def wait() -> None:
        found.extend(number for number, _ in await sockets.readable())

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    (number,) = sockets.open(1)
    sockets.send(number, other.address, [b"x"])
    _, source = await heard(other)
    other.send(source, [b"back"])
    with trio.fail_after(DEADLINE_S):
        while not found:  # noqa: ASYNC110  the task has no event of its own
            await trio.sleep(0.01)
    assert found == [number]


def test_there_are_no_more_than_so_many(sockets: Sockets) -> None:
    numbers = sockets.open(MOST + 10)
    assert len(numbers) <= MOST
    assert len(sockets.open(1)) == 0 or len(numbers) < MOST
    sockets.close(numbers[:3])
    assert len(set(sockets.open(3)) - set(numbers)) == 3
