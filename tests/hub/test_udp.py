import errno
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.hub.udp import UdpSocket
from edged.kit.address import Address

DEADLINE_S = 30.0


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
    finally:
        both.close()
