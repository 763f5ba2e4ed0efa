import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from edged.device.rules import web
from edged.device.rules.web import Answer, Asked, ask, serve
from edged.errors import UnreachableError
from edged.kit.address import Address
from tests.device.broker import in_time

HERE = Address("127.0.0.1", 0)


@asynccontextmanager
async def door(handle: web.Handle) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(functools.partial(serve, HERE, handle))
        nursery.cancel_scope.cancel()


async def echo(asked: Asked) -> Answer:
    return Answer(201, asked.content_type, f"{asked.method} {asked.path} ".encode() + asked.body)


async def raw(port: int, data: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(data)
        found = b""
        while more := await stream.receive_some():
            found += more
        return found


@in_time
async def test_a_question_and_its_answer() -> None:
    async with door(echo) as port:
        found = await ask(f"http://127.0.0.1:{port}/a/b?c=d", "PUT", "text/x", b"body")
        assert found == Answer(201, "text/x", b"PUT /a/b?c=d body")
        many = b"x" * web.MAX_BODY
        assert len((await ask(f"http://127.0.0.1:{port}", "POST", "", many[:-100])).body) > web.MAX_BODY - 100


@in_time
async def test_what_is_too_large_or_of_a_page_is_refused() -> None:
    async with door(echo) as port:
        found = await ask(f"http://127.0.0.1:{port}", "POST", "", b"x" * (web.MAX_BODY + 1))
        assert found.code == 413
        page = await raw(port, b"POST / HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n")
        assert page.startswith(b"HTTP/1.1 403")
        assert (await raw(port, b"\x16\x03\x01\x00\r\n\r\n")).startswith(b"HTTP/1.1 400")


@in_time
async def test_a_client_that_waits_for_leave_gets_it() -> None:
    async with door(echo) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"ok")
        found = b""
        while more := await stream.receive_some():
            found += more
        assert found.endswith(b"POST / ok")


@in_time
async def test_a_client_that_stops_at_any_byte_harms_nobody() -> None:
    request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"
    async with door(echo) as port:
        for at in range(0, len(request), 3):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(request[:at])
        assert (await ask(f"http://127.0.0.1:{port}/", "POST", "", b"")).code == 201


@in_time
@pytest.mark.parametrize(
    ("says", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "no exchange of HTTP"),
        (b"", "closed the connection|no exchange of HTTP"),
        (b"SSH-2.0\r\n\r\n", "no exchange of HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (web.MAX_BODY + 1), "answers with more than"),
    ],
)
async def test_servers_that_do_not_answer_as_they_should(says: bytes, message: str, hostile: Any) -> None:
    async def talk(stream: trio.SocketStream, _: bytes) -> None:
        await stream.send_all(says)
        await stream.aclose()

    async with hostile(talk) as port:
        with pytest.raises(UnreachableError, match=message):
            await ask(f"http://127.0.0.1:{port}/", "GET", "", b"")


@in_time
async def test_nobody_and_somebody_silent(hostile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreachableError, match="refused"):
        await ask("http://127.0.0.1:1/", "GET", "", b"")
    monkeypatch.setattr(web, "ASK_S", 0.1)

    async def silent(_: trio.SocketStream, __: bytes) -> None:
        await trio.sleep_forever()

    async with hostile(silent) as port:
        with pytest.raises(UnreachableError, match=r"no answer within 0.1 s"):
            await ask(f"http://127.0.0.1:{port}/", "GET", "", b"")


@in_time
async def test_an_address_that_is_taken() -> None:
    async with door(echo) as port:
        with pytest.raises(UnreachableError, match="cannot be listened on"):
            await serve(Address("127.0.0.1", port), echo)
