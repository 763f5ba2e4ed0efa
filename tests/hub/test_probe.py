import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub.probe import LINK_ID, PING_SIZE, PONG_SIZE, Ping, Pong, Probes
from edged.kit.address import Address

KEY = bytes(range(32))
B = Address("192.0.2.2", 7400)


def test_a_probe_is_opened_by_the_other_end_only() -> None:
    mine, theirs = Probes(KEY, dialler=True), Probes(KEY, dialler=False)
    ping = mine.ping(b"12345678")
    assert len(ping) == PING_SIZE
    assert ping[0] & 0xC0 == 0
    assert ping[LINK_ID] == theirs.link_id
    assert theirs.open(ping) == Ping(b"12345678")
    with pytest.raises(ProtocolError):
        mine.open(ping)  # it came back to us: a bridge with the same address on both nodes
    for seen in (B, Address("2001:db8::1", 65535)):
        pong = theirs.pong(b"12345678", seen)
        assert len(pong) == PONG_SIZE < PING_SIZE
        assert mine.open(pong) == Pong(b"12345678", seen)
    with pytest.raises(ProtocolError):
        Probes(bytes(32), dialler=False).open(ping)


@given(st.binary(max_size=80), st.integers(0, PONG_SIZE - 1), st.integers(1, 255), st.booleans())
def test_opening_raises_protocol_error_only(noise: bytes, at: int, flip: int, longer: bool) -> None:
    probes = Probes(KEY, dialler=False)
    damaged = bytearray(Probes(KEY, dialler=True).ping(b"12345678")[: PING_SIZE - longer])
    damaged[at] ^= flip
    for data in (noise, bytes(damaged), bytes(damaged) + noise):
        with pytest.raises(ProtocolError):
            probes.open(data)
