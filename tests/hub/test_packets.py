import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub.packets import Destination, destination, is_probe, one_flow

SHORT = b"\x5a" + b"12345678"
LONG = b"\x00\x00\x00\x01\x0812345678\x08abcdefgh"


def test_the_destination_of_each_kind_of_packet() -> None:
    assert destination(SHORT + b"x" * 20) == Destination(b"12345678", begins=False)
    assert destination(b"\xe0" + LONG) == Destination(b"12345678", begins=False)  # a handshake packet
    assert destination((b"\xc3" + LONG).ljust(1200, b"x")) == Destination(b"12345678", begins=True)
    assert destination(b"\xc3" + LONG) == Destination(b"12345678", begins=False)  # too small to begin a link
    assert destination(b"\xc0\x00\x00\x00\x01\x14" + bytes(20)).connection_id == bytes(20)


NOT_QUIC = [
    b"",
    SHORT[:8],
    b"\x2e" + bytes(60),
    b"\xc0",
    b"\xc0\x6b\x33\x43\xcf\x08" + bytes(20),
    b"\xc0\x00\x00\x00\x01\x15" + bytes(30),
    b"\xc0\x00\x00\x00\x01\x07" + bytes(30),
    b"\xc0\x00\x00\x00\x01\x08" + bytes(7),
]


@pytest.mark.parametrize("data", NOT_QUIC)
def test_what_is_not_quic(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        destination(data)


@given(st.binary(max_size=40))
def test_only_the_declared_error(data: bytes) -> None:
    try:
        found = destination(data)
    except ProtocolError:
        return
    assert 8 <= len(found.connection_id) <= 20
    assert not is_probe(data)


@given(
    st.lists(st.sampled_from([SHORT, b"\x5b12345678", b"\x5b12345679", b"\xc0" + LONG[:8], b"\x2eep1" + bytes(5)]), min_size=1),
    st.data(),
)
def test_a_buffer_goes_on_whole_only_when_all_of_it_is_for_one_link(heads: list[bytes], data: st.DataObject) -> None:
    segment = data.draw(st.integers(9, 40))
    last = data.draw(st.integers(1, segment))
    pieces = [head.ljust(segment, b"z") for head in heads]
    pieces[-1] = pieces[-1][:last]
    one = last >= 9 and {piece[:1] >= b"\x40" and piece[:1] < b"\x80" for piece in pieces} == {True}
    one = one and len({piece[1:9] for piece in pieces}) == 1
    assert one_flow(b"".join(pieces), segment) == one
