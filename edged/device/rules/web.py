"""HTTP/1.1 in small (RFC 9112, with h11): one question to a server, and a door that answers. Every size and wait is bounded."""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import h11
import trio

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.kit.http import RECEIVE, exchange
from edged.kit.tcp import Stream, open_stream, why

MAX_BODY = 1 << 20  # bytes of a message: a reading or a command is far smaller, and a hundred of them are in memory at most
MAX_CLIENTS = 64  # of a door, at a time; further ones wait
ASK_S = 10.0  # for a whole question and its answer, as KubeEdge's ServiceBus waits
ANSWER_S = 30.0  # for a client to send its request, and to take its answer
TEXT = "text/plain; charset=utf-8"
SERVICE_UNAVAILABLE = 503


class Asked(NamedTuple):
    """A request. `path` is with its query."""

    method: str
    path: str
    content_type: str
    body: bytes


class Answer(NamedTuple):
    """An answer."""

    code: int
    content_type: str
    body: bytes


Handle = Callable[[Asked], Awaitable[Answer]]


def text(code: int, said: str) -> Answer:
    """An answer in words."""
    return Answer(code, TEXT, said.encode())


async def ask(url: str, method: str, content_type: str, body: bytes) -> Answer:
    """Ask `url`, which is http or https. UnreachableError when there is no whole answer in time, or none of HTTP."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    address = Address(parts.hostname or "", parts.port or (443 if secure else 80))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with trio.fail_after(ASK_S):
            stream = await open_stream(address, ssl.create_default_context() if secure else None)
            try:
                return await _dialogue(stream, address, method, target, content_type, body)
            finally:
                await trio.aclose_forcefully(stream)
    except trio.TooSlowError as error:
        raise UnreachableError(f"{address} gives no answer within {ASK_S:g} s") from error
    except h11.ProtocolError as error:
        raise UnreachableError(f"{address}: no exchange of HTTP/1.1: {error}") from error
    except (OSError, trio.BrokenResourceError, UnicodeError) as error:
        raise UnreachableError(f"{address} cannot be reached: {why(error)}") from error


async def serve(address: Address, handle: Handle, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer whoever comes to `address`, until cancelled. Started with its port. UnreachableError: it cannot be listened on."""
    limit = trio.CapacityLimiter(MAX_CLIENTS)
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        raise UnreachableError(f"{address} cannot be listened on: {error}") from error
    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_listeners, partial(_client, handle, limit), listeners)
        await nursery.start(serving)
        task_status.started(int(listeners[0].socket.getsockname()[1]))


async def _client(handle: Handle, limit: trio.CapacityLimiter, stream: trio.SocketStream) -> None:
    """One client, one request."""
    async with limit, stream:
        http = h11.Connection(h11.SERVER)
        try:
            with trio.fail_after(ANSWER_S):
                asked = await _asked(stream, http)
            answer = asked if isinstance(asked, Answer) else await handle(asked)
        except h11.RemoteProtocolError as error:
            answer = text(error.error_status_hint, f"not HTTP/1.1: {error}")
        except (trio.TooSlowError, trio.BrokenResourceError):
            return
        with trio.move_on_after(ANSWER_S):
            await _send(stream, http, answer)


async def _asked(stream: trio.SocketStream, http: h11.Connection) -> Asked | Answer:
    head: h11.Request | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                await stream.send_all(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            http.receive_data(bytes(await stream.receive_some(RECEIVE)))
        elif isinstance(event, h11.Request):
            head = event
            if any(name == b"origin" for name, _ in event.headers):
                return text(403, "pages of other sites may not ask here")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                return text(413, f"at most {MAX_BODY} bytes are taken")
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Asked(head.method.decode("ascii"), head.target.decode("latin-1"), _content_type(head), body)
        else:
            raise trio.BrokenResourceError("the client closed the connection")


async def _send(stream: trio.SocketStream, http: h11.Connection, answer: Answer) -> None:
    if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    code = answer.code if 200 <= answer.code <= 599 else SERVICE_UNAVAILABLE
    headers = [("Content-Length", str(len(answer.body))), ("Connection", "close"), ("X-Content-Type-Options", "nosniff")]
    headers += [("Content-Type", answer.content_type)] if answer.content_type else []
    head = h11.Response(status_code=code, headers=headers)
    try:
        said = [http.send(each) or b"" for each in (head, h11.Data(data=answer.body), h11.EndOfMessage())]
        await stream.send_all(b"".join(said))
        await stream.send_eof()
        with trio.move_on_after(1.0):  # what it still sends would make its system throw our answer away
            while await stream.receive_some(RECEIVE):
                pass
    except (trio.BrokenResourceError, h11.LocalProtocolError):
        return  # it is gone; or the answer's own headers cannot be said


async def _dialogue(stream: Stream, address: Address, method: str, target: str, content_type: str, body: bytes) -> Answer:
    http = h11.Connection(h11.CLIENT)
    headers = [("Host", str(address)), ("Content-Length", str(len(body))), ("Connection", "close")]
    headers += [("Content-Type", content_type)] if content_type else []
    request = h11.Request(method=method, target=target, headers=headers)
    head, found = await exchange(stream, http, request, body, MAX_BODY)
    if len(found) > MAX_BODY:
        raise UnreachableError(f"{address} answers with more than {MAX_BODY} bytes")
    return Answer(head.status_code, _content_type(head), found)


def _content_type(head: h11.Request | h11.Response) -> str:
    return next((value.decode("latin-1") for name, value in head.headers if name == b"content-type"), "")
