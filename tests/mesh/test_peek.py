from collections.abc import AsyncIterator

import pytest
import trio
import trio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from edged.mesh import peek

HEAD = b"GET / HTTP/1.1\r\nHost: web\r\nX-User:  ann \r\nempty:\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "value"), [("x-user", "ann"), ("host", "web"), ("empty", ""), ("x-other", None), ("get / http/1.1", None)]
)
def test_a_header_of_a_request(name: str, value: str | None) -> None:
    assert peek.header(HEAD, name) == value


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=40).map(lambda junk: HEAD[:30] + junk + HEAD[30:])))
def test_whatever_is_said_is_no_error(data: bytes) -> None:
    value = peek.header(data, "x-user")
    assert value is None or value.encode("latin-1") in data


@pytest.fixture
async def pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    here, there = (trio.SocketStream(each) for each in trio.socket.socketpair())
    async with here, there:
        yield here, there


async def test_a_head_in_pieces_is_read_whole_and_no_byte_is_lost(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    client, server = pair
    read: list[bytes] = []

    async def run() -> None:
        read.append(await peek.head_of(server))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            for at in range(0, len(HEAD), 7):
                await client.send_all(HEAD[at : at + 7])
                await trio.lowlevel.checkpoint()
    assert HEAD.startswith(read[0][: len(HEAD)])
    assert peek.header(read[0], "x-user") == "ann"


async def test_a_slow_client_is_waited_for_a_while_only(
    pair: tuple[trio.SocketStream, trio.SocketStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peek, "PEEK_S", 0.05)
    client, server = pair
    await client.send_all(b"GET / HT")
    with trio.fail_after(60):
        assert await peek.head_of(server) == b"GET / HT"


async def test_a_head_is_bounded(pair: tuple[trio.SocketStream, trio.SocketStream], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peek, "MAX_HEAD", 100)
    client, server = pair
    await client.send_all(b"x" * 1000)
    with trio.fail_after(60):
        assert await peek.head_of(server) == b"x" * 100


async def test_a_client_that_says_all_it_has_is_not_waited_for(pair: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    client, server = pair
    await client.send_all(b"hello")
    await client.send_eof()
    with trio.fail_after(60):
        assert await peek.head_of(server) == b"hello"
