from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub.pieces import GROUP, MAX_WAITING, Pieces, is_piece
from edged.hub.probe import LINK_ID, NARROW_SIZE, PING_SIZE
from edged.kit.udp import bursts

LINK = b"linkname"


def some(*sizes: int) -> list[bytes]:
    random = Random(1)
    return [b"\x40" + random.randbytes(size - 1) for size in sizes]


def joined(pieces: list[bytes]) -> list[bytes]:
    other = Pieces(LINK)
    return [whole for piece in pieces if (whole := other.join(piece) if is_piece(piece) else piece) is not None]


def test_what_is_too_large_goes_in_two_and_is_put_together_again() -> None:
    datagrams = some(PING_SIZE, NARROW_SIZE, PING_SIZE - 1, NARROW_SIZE + 1, 30)
    pieces = Pieces(LINK).cut(datagrams)
    assert max(map(len, pieces)) <= NARROW_SIZE
    assert len(pieces) == len(datagrams) + 3
    assert all(piece[LINK_ID] == LINK and piece[0] < 0x40 for piece in pieces if is_piece(piece))
    for order in (pieces, pieces[::-1]):
        assert sorted(joined(order)) == sorted(datagrams)


def test_they_leave_in_bursts() -> None:
    pieces = Pieces(LINK).cut(some(*[PING_SIZE - 1] * 2 * GROUP))
    assert [len(burst) for burst in bursts(pieces)] == [GROUP] * 4


def test_a_lost_half_loses_its_datagram_alone_and_does_not_wait_for_ever() -> None:
    datagrams = some(*[PING_SIZE] * 3 * MAX_WAITING)
    pieces = Pieces(LINK).cut(datagrams)
    other = Pieces(LINK)
    for piece in pieces:
        assert piece[4] == 0 or other.join(piece) is None  # no first half comes
    assert len(other._waiting) == MAX_WAITING
    assert joined(pieces[1:]) == datagrams[1:]


def test_a_half_that_comes_twice_is_one() -> None:
    (data,) = some(PING_SIZE)
    one, two = Pieces(LINK).cut([data])
    assert joined([one, one, two]) == [data]


@given(st.binary(max_size=80), st.integers(0, 17), st.integers(0, 255))
def test_damage_raises_protocol_error_only(noise: bytes, at: int, value: int) -> None:
    damaged = bytearray(Pieces(LINK).cut(some(PING_SIZE))[0])
    damaged[at] = value
    pieces = Pieces(LINK)
    for data in (noise, bytes(damaged), bytes(damaged[:at]), bytes(damaged) + bytes(PING_SIZE)):
        try:
            pieces.join(data)
        except ProtocolError:
            continue
    for data in (b"", b"\x2dec1" + bytes(20)):
        with pytest.raises(ProtocolError):
            pieces.join(data)
