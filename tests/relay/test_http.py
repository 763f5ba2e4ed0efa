import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from relay import http

UPGRADE = b"GET /x HTTP/1.1\r\nHost: r\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"


async def read(*pieces: bytes) -> http.Head | None:
    ours, theirs = trio.testing.memory_stream_pair()
    for piece in pieces:
        await theirs.send_all(piece)
    await theirs.send_eof()
    with trio.fail_after(10):
        return await http.read_head(ours)


async def test_a_head_is_read_however_it_is_cut() -> None:
    for cut in range(len(UPGRADE)):
        head = await read(UPGRADE[:cut], UPGRADE[cut:])
        assert head is not None
        assert (head.method, head.path, head.websocket) == ("GET", "/x", True)
        assert head.values("x-forwarded-for") == ["1.1.1.1"]
        assert head.raw == UPGRADE


async def test_a_close_before_the_head_is_whole_is_no_request() -> None:
    assert await read(b"GET / HTT") is None
    assert await read() is None


async def test_a_head_that_is_no_http_or_too_large_is_a_protocol_error() -> None:
    for said in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * http.MAX_HEAD):
        with pytest.raises(ProtocolError):
            await read(said)


async def test_the_bytes_read_come_again_before_the_rest() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    replayed = http.Replayed(ours, b"first")
    await theirs.send_all(b"second")
    assert await replayed.receive_some() == b"first"
    assert await replayed.receive_some() == b"second"
    await replayed.send_all(b"back")
    assert await theirs.receive_some() == b"back"
    await replayed.aclose()
    assert await theirs.receive_some() == b""


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_protocol_errors(noise: bytes) -> None:
    for said in (noise, UPGRADE[:30] + noise):
        try:
            trio.run(read, said)
        except ProtocolError:
            pass
