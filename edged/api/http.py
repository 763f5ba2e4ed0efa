"""HTTP/1.1 on a stream (RFC 9112), with h11: one client, request after request, every size and wait bounded."""

from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import parse_qsl

import h11
import trio

from edged.api.exchange import Answer, ByteStream, Request
from edged.api.status import StatusError
from edged.api.who import Caller
from edged.errors import EdgedError
from edged.kit.log import Log
from edged.model.limits import MAX_BODY

MAX_HEAD = 32 << 10  # bytes of a request line and its headers: kubectl sends under 2 kB, long selectors some more
MAX_QUERY = 64  # query parameters; kubectl sends under 10
MAX_LOOKAHEAD = 64 << 10  # bytes that a client may send while it is being answered: it has no business to
PIECE = 64 << 10  # bytes of one read
IDLE_S = 120.0  # an open connection without a request; kubectl's proxies and informers keep theirs
HEAD_S = 10.0  # from the first byte of a request to the end of its headers
BODY_S = 30.0  # from there to the end of its body: 3 MB at 100 kB/s
WRITE_S = 30.0  # for a client to take the next piece of an answer
LINGER_S = 1.0  # how long what a refused client still sends is thrown away, so that it gets to read why
CLOSE_S = 2.0  # for the goodbye of TLS

Handle = Callable[[Request], Awaitable[Answer]]


class Connection:
    """Serves one client on `stream` until it leaves, errs or is too slow.

    `handle` answers every request and raises nothing. Who is not known (`caller` None) sends no body: it is refused
    before its body is read. `bodies` bounds how many bodies, of all connections, are in memory at a time.
    """

    def __init__(
        self, stream: trio.abc.Stream, caller: Caller | None, handle: Handle, bodies: trio.CapacityLimiter, log: Log
    ) -> None:
        self._stream, self._caller, self._handle, self._bodies, self._log = stream, caller, handle, bodies, log
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    async def serve(self) -> None:
        """Until the connection is over; then it is closed."""
        try:
            while await self._exchange():
                self._http.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return  # the client is gone: nobody is left to tell
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await self._stream.aclose()

    async def _exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            with trio.fail_after(IDLE_S):
                await self._first_byte()
            with trio.fail_after(HEAD_S):
                head = await self._next()
        except trio.TooSlowError:
            return await self._refuse(408, "the request's headers took too long") if self._http.trailing_data[0] else False
        except h11.RemoteProtocolError as error:
            return await self._refuse(error.error_status_hint, f"not HTTP/1.1: {error}")
        if not isinstance(head, h11.Request):
            return False
        try:
            return await self._answer(head)
        except trio.TooSlowError:
            return await self._refuse(408, "the request's body took too long")
        except h11.RemoteProtocolError as error:
            return await self._refuse(error.error_status_hint, f"not HTTP/1.1: {error}")
        except StatusError as error:
            return await self._refuse(error.code, str(error))

    async def _answer(self, head: h11.Request) -> bool:
        request = _request(head, self._caller)
        headers = request.headers
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self._next()  # the end of the message, which is there already
            return await self._send(request.method, await self._handle(request))
        if self._caller is None:
            raise StatusError(401, "Unauthorized")
        async with self._bodies:
            with trio.fail_after(BODY_S):
                body = await self._body(headers.get("content-length", "0"))
            answer = await self._handle(request._replace(body=body))
        return await self._send(request.method, answer)

    async def _first_byte(self) -> None:
        if not self._http.trailing_data[0]:
            self._http.receive_data(bytes(await self._stream.receive_some(PIECE)))

    async def _next(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self._http.receive_data(bytes(await self._stream.receive_some(PIECE)))

    async def _body(self, announced: str) -> bytes:
        too_large = StatusError(413, f"the request's body is over the limit of {MAX_BODY} bytes")
        if int(announced) > MAX_BODY:
            raise too_large
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise too_large
        return bytes(body)

    async def _send(self, method: str, answer: Answer) -> bool:
        """Send an answer; whether another request may follow. A stream is closed, even if the client does not take the head."""
        try:
            return await self._send_open(method, answer)
        finally:
            if not isinstance(answer.body, bytes):
                await answer.body.aclose()

    async def _send_open(self, method: str, answer: Answer) -> bool:
        headers = [*answer.headers, ("Cache-Control", "no-cache, private")]
        if isinstance(answer.body, bytes):
            headers.append(("Content-Length", str(len(answer.body))))
        await self._write(h11.Response(status_code=answer.status, headers=headers))
        if method == "HEAD":
            await self._write(h11.EndOfMessage())
        elif isinstance(answer.body, bytes):
            await self._write(h11.Data(data=answer.body), h11.EndOfMessage())
        elif await self._stream_out(answer.body):
            await self._write(h11.EndOfMessage())
        else:
            return False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _stream_out(self, body: ByteStream) -> bool:
        """Send a stream while watching that the client is still there; whether it was sent to its end."""
        whole = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_gone, nursery.cancel_scope)
            try:
                async for piece in body:
                    await self._write(h11.Data(data=piece))
                whole = True
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass  # the client is gone, or takes nothing: a broken end of the body says that it is not whole
            except EdgedError as error:
                self._log.warning(f"an answer breaks off: {error}")
            except Exception as error:  # a bug in one answer ends this connection, not the daemon
                self._log.error(f"an answer breaks off by a bug: {describe(error)}")
            nursery.cancel_scope.cancel()
        return whole

    async def _until_gone(self, scope: trio.CancelScope) -> None:
        seen = 0
        try:
            while (data := await self._stream.receive_some(PIECE)) and seen <= MAX_LOOKAHEAD:
                seen += len(data)
                self._http.receive_data(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()

    async def _refuse(self, code: int, message: str) -> bool:
        """Answer with an error, throw away what still comes for a moment, and end the connection."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = StatusError(code, message, reason="" if code != 431 else "RequestHeaderFieldsTooLarge").answer()
            await self._send("", answer._replace(headers=[*answer.headers, ("Connection", "close")]))
            with trio.move_on_after(LINGER_S):
                while await self._stream.receive_some(PIECE):
                    pass
        return False

    async def _write(self, *events: h11.Event) -> None:
        data = b"".join(cast("bytes", self._http.send(event)) for event in events)
        with trio.fail_after(WRITE_S):
            await self._stream.send_all(data)


def _request(head: h11.Request, caller: Caller | None) -> Request:
    """The head of a request taken apart; StatusError 400 when its target is not one."""
    try:
        target = head.target.decode("ascii")
        path, _, query = target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY)
    except ValueError as error:
        raise StatusError(400, f"the request's target cannot be read: {error}") from error
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode("ascii"), path, dict(pairs), headers, b"", caller)


def describe(error: BaseException) -> str:
    """An unexpected error in one line: its type, its text, and where it came from."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{place}"
