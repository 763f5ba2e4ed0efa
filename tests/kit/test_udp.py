import errno
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.kit.udp import (
    IP_MTU_DISCOVER,
    IPV6_MTU_DISCOVER,
    MAX_RECEIVE,
    MAX_SEGMENTS,
    MAX_SEND,
    PMTUDISC_PROBE,
    UdpSocket,
    bursts,
)

DEADLINE_S = 30.0
IP_RECVTTL = 12  # linux/in.h


@pytest.fixture
def pair() -> Iterator[tuple[UdpSocket, UdpSocket]]:
    one, two = UdpSocket(Address("127.0.0.1", 0)), UdpSocket(Address("127.0.0.1", 0))
    yield one, two
    one.close()
    two.close()


async def received(udp: UdpSocket, count: int) -> list[tuple[bytes, Address]]:
    found: list[tuple[bytes, Address]] = []
    with trio.fail_after(DEADLINE_S):
        while len(found) < count:
            await udp.readable()
            while (got := udp.receive()) is not None:
                data, segment, source = got
                found += [(data[at : at + segment], source) for at in range(0, len(data), segment)]
    return found


SIZES: list[Sequence[int]] = [[1], [1350] * 100, [1350] * 10 + [7], [7, 1350, 1350, 7, 7, 8], list(range(1, 60))]


@pytest.mark.parametrize("sizes", SIZES, ids=len)
@pytest.mark.parametrize("bursts", [True, False])
async def test_datagrams_keep_their_borders_and_order(pair: Any, sizes: Sequence[int], bursts: bool) -> None:
    one, two = pair
    one._bursts = bursts
    sent = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    one.send(two.address, sent)
    assert await received(two, len(sent)) == [(data, one.address) for data in sent]
    assert two.receive() is None
    assert one.lost == 0


@pytest.mark.parametrize("sizes", SIZES, ids=len)
@pytest.mark.parametrize("bursts", [True, False])
async def test_what_was_received_is_passed_on_as_it_came(pair: Any, sizes: Sequence[int], bursts: bool) -> None:
    one, two = pair
    third = UdpSocket(Address("127.0.0.1", 0))
    buffer = memoryview(bytearray(MAX_RECEIVE))
    try:
        two._bursts = bursts
        sent = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
        one.send(two.address, sent)
        left = sum(sizes)
        with trio.fail_after(DEADLINE_S):
            while left:
                await two.readable()
                while (got := two.receive_into(buffer)) is not None:
                    size, segment, source = got
                    assert source == one.address
                    two.pass_on(third.address, buffer[:size], segment)
                    left -= size
        assert await received(third, len(sent)) == [(data, two.address) for data in sent]
        assert two.lost == 0
    finally:
        third.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_nothing_is_cut_into_fragments(host: str) -> None:
    """That a router drops what is too large instead is shown in tests/lab."""
    udp = UdpSocket(Address(host, 0))
    try:
        assert udp._socket.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == PMTUDISC_PROBE
        assert ":" not in host or udp._socket.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) == PMTUDISC_PROBE
    finally:
        udp.close()


async def test_a_burst_beyond_what_one_call_takes_is_passed_on_in_two(pair: Any) -> None:
    """By IPv6 the kernel may hand over up to 65,527 bytes."""
    one, two = pair
    sent = [bytes([number]) * 2000 for number in range(32)] + [b"x" * 1520]
    one.pass_on(two.address, memoryview(b"".join(sent)), 2000)
    assert [data for data, _ in await received(two, 33)] == sent
    assert (one.lost, one._bursts) == (0, True)


async def test_a_kernel_that_cannot_cut_bursts_gets_single_datagrams(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair
    plain = one._socket

    class Old:
        def __getattr__(self, name: str) -> Any:
            return getattr(plain, name)

        def sendmsg(self, *_: Any) -> int:
            raise OSError(errno.EIO, "no")

    monkeypatch.setattr(one, "_socket", Old())
    sent = [b"x" * 100] * 5
    one.send(two.address, sent)
    assert [data for data, _ in await received(two, 5)] == sent
    assert not one._bursts


def test_what_cannot_be_sent_is_lost_and_counted(pair: Any) -> None:
    one, _ = pair
    one.send(Address("255.255.255.255", 9), [b"x"] * 3)  # broadcasting needs a permission that we never ask for
    one.send(Address("127.0.0.1", 9), [bytes(65508)])
    assert one.lost == 4
    assert one._bursts


def test_an_address_that_cannot_be_bound(pair: Any) -> None:
    with pytest.raises(UnreachableError, match="in use"):
        UdpSocket(pair[0].address)
    with pytest.raises(UnreachableError, match=r"UDP 192\.0\.2\.77:0"):
        UdpSocket(Address("192.0.2.77", 0))


async def test_a_socket_for_both_families_speaks_to_both(pair: Any) -> None:
    one, _ = pair
    try:
        both = UdpSocket(Address("::", 0))
    except UnreachableError:
        return  # a kernel without IPv6
    try:
        both.send(one.address, [b"four"])
        ((data, source),) = await received(one, 1)
        assert data == b"four"
        one.send(source, [b"back"])
        assert await received(both, 1) == [(b"back", one.address)]
        both.send_near(one.address, b"near", 1)
        assert (await received(one, 1))[0][0] == b"near"
    finally:
        both.close()


async def test_a_datagram_may_be_told_to_die_near(pair: Any) -> None:
    one, two = pair
    two._socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    one.send_near(two.address, b"x", 2)
    one.send(two.address, [b"y"])
    ttls = []
    with trio.fail_after(DEADLINE_S):
        while len(ttls) < 2:
            await two.readable()
            _, control, _, _ = two._socket.recvmsg(10, socket.CMSG_SPACE(4))
            ttls += [int.from_bytes(value, sys.byteorder) for _, kind, value in control if kind == socket.IP_TTL]
    assert ttls == [2, 64]
    one.send_near(Address("255.255.255.255", 9), b"x", 2)
    assert one.lost == 1


@pytest.mark.parametrize("sizes", [*SIZES, [], [5, 0, 5], [100] * 200, [20_000] * 10], ids=len)
def test_bursts_are_runs_that_the_kernel_takes(sizes: Sequence[int]) -> None:
    datagrams = [bytes([at % 256]) * size for at, size in enumerate(sizes)]
    runs = list(bursts(datagrams))
    assert [data for run in runs for data in run] == datagrams
    for run in runs:
        assert len(run) <= MAX_SEGMENTS
        assert sum(map(len, run)) <= MAX_SEND
        assert all(len(data) == len(run[0]) for data in run[:-1])
        assert len(run) == 1 or 0 < len(run[-1]) <= len(run[0])
    if len(set(sizes)) == 1:
        assert len(runs) == -(-len(sizes) // min(MAX_SEGMENTS, MAX_SEND // sizes[0]))
