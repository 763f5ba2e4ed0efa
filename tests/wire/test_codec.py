import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.wire.codec import MAX_FRAME, Frames, framed
from edged.wire.relay import FROM_NODE, Forward, Prove


@given(st.lists(st.binary(max_size=200), max_size=10), st.integers(1, 50))
def test_frames_come_out_however_the_stream_is_cut(payloads: list[bytes], step: int) -> None:
    stream = b"".join(framed(payload) for payload in payloads)
    frames, got = Frames(), []
    for at in range(0, len(stream), step):
        frames.feed(stream[at : at + step])
        while (frame := frames.next()) is not None:
            got.append(frame)
    assert got == payloads
    assert frames.rest() == b""


def test_a_frame_over_the_limit_is_refused_before_it_arrives() -> None:
    frames = Frames(limit=100)
    frames.feed((101).to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match="a frame of 101 bytes, at most 100"):
        frames.next()
    with pytest.raises(ProtocolError, match="may be sent"):
        framed(bytes(MAX_FRAME + 1))


def test_the_rest_after_a_frame_is_kept() -> None:
    frames = Frames()
    frames.feed(framed(b"opening") + b"plain bytes")
    assert frames.next() == b"opening"
    assert frames.rest() == b"plain bytes"


@given(st.binary(max_size=400))
def test_random_bytes_raise_the_declared_error_only(data: bytes) -> None:
    try:
        FROM_NODE.decode(data)
    except ProtocolError:
        pass


@given(st.data())
def test_damaged_messages_raise_the_declared_error_only(data: st.DataObject) -> None:
    text = bytearray(FROM_NODE.encode([Prove(1, b"c" * 30, "relay", b"s" * 8), Forward("gw-b", [b"one", b"two"])]))
    for _ in range(data.draw(st.integers(1, 5))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        FROM_NODE.decode(text[: data.draw(st.integers(0, len(text)))])
    except ProtocolError:
        pass


@pytest.mark.parametrize("data", [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xa2\xff\xff"])
def test_depth_and_promised_sizes_do_no_harm(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FROM_NODE.decode(data)
