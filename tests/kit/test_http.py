import h11
import pytest
import trio
import trio.testing

from edged.kit.http import exchange

LIMIT = 10


async def asked(answer: bytes, size: int = 65536) -> tuple[int, bytes, h11.Connection, bytes]:
    """The status and body of an `answer` that comes in pieces of `size`; then the connection, and what was sent."""
    ours, theirs = trio.testing.memory_stream_pair()
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="POST", target="/a", headers=[("Host", "b"), ("Content-Length", "2")])

    async def server() -> None:
        for at in range(0, len(answer), size):
            await theirs.send_all(answer[at : at + size])
        await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        head, body = await exchange(ours, http, request, b"ok", LIMIT)
    return head.status_code, body, http, await theirs.receive_some()


@pytest.mark.parametrize("size", [1, 7, 65536])
async def test_an_answer_is_whole_however_it_comes(size: int) -> None:
    answer = (
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    status, body, http, sent = await asked(answer, size)
    assert (status, body) == (201, b"abcde")
    assert http.their_state is h11.DONE  # the connection may be kept
    assert sent.startswith(b"POST /a HTTP/1.1\r\n")
    assert sent.endswith(b"\r\n\r\nok")


async def test_of_what_is_too_much_the_rest_is_not_read() -> None:
    just = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + bytes(LIMIT)
    assert (await asked(just))[1] == bytes(LIMIT)
    _, body, http, _ = await asked(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + bytes(99), 60)
    assert LIMIT < len(body) < 99
    assert http.their_state is h11.SEND_BODY


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"


NONE = (
    *(b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"x" * 200_000),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
)


@pytest.mark.parametrize("answer", [*(WHOLE[:cut] for cut in range(len(WHOLE))), *NONE], ids=range(len(WHOLE) + len(NONE)))
async def test_what_is_no_whole_answer_raises_what_is_declared(answer: bytes) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        await asked(answer)
    assert all(isinstance(each, h11.ProtocolError | trio.BrokenResourceError) for each in raised.value.exceptions)
