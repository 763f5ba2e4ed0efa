"""Requests to a web server on one connection that is kept: HTTP/1.1, h11 on trio, TLS. A shell; what is said is others'."""

import ssl
from collections.abc import Sequence
from http import HTTPStatus

import h11
import trio

from edged.device.push.form import Answer, Form, Request, Verdict, accepted
from edged.device.push.parcels import Credentials, Parcel, Target
from edged.errors import DeniedError, InvalidError, UnreachableError
from edged.kit.address import parse_address
from edged.kit.http import exchange
from edged.kit.tcp import Stream, open_stream, why

CONNECT_S = 10.0  # for TCP and TLS together
MAX_ANSWER = 64 << 10  # bytes of an answer's body: of more the rest is not read, and the connection is closed
TEXT = 200  # characters of an answer that are told
BAD_PARCELS = {400, 413, 415, 422}  # what was sent is not taken; fewer, or others, may be
LATER = {408, 425, 429}  # RFC 9110, RFC 8470, RFC 6585: to be asked again


class WebSender:
    """A Sender of requests that `form` makes of parcels; `verdict` looks into answers that HTTP calls a success."""

    def __init__(self, target: Target, credentials: Credentials, form: Form, verdict: Verdict = accepted) -> None:
        scheme, _, rest = target.url.partition("://")
        where, _, path = rest.partition("/")
        self._target, self._form, self._verdict = target, form, verdict
        self._address, self._path = parse_address(where), f"/{path}" if path else ""
        self._tls = tls_context(credentials.ca) if scheme == "https" else None
        self._stream: Stream | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def send(self, parcels: Sequence[Parcel]) -> int:
        """All of them, in order; see Sender."""
        never = 0
        for request in self._form(parcels):
            answer = await self._ask(request)
            text = f"{self._target} answers {answer.status}{_said(answer)}"
            if answer.status in BAD_PARCELS:
                raise InvalidError(text)
            if answer.status in LATER or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise UnreachableError(text)
            if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                raise DeniedError(text)
            never += self._verdict(answer)
        return never

    async def aclose(self) -> None:
        """Let go of the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _ask(self, request: Request) -> Answer:
        """Ask; once more on a new connection when the server closed the kept one meanwhile."""
        kept = self._stream is not None
        try:
            return await self._exchange(request)
        except UnreachableError:
            if not kept:
                raise
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> Answer:
        done = False
        try:
            with trio.fail_after(self._target.timeout_s):
                answer = await self._dialogue(request)
            done = True
        except trio.TooSlowError as error:
            raise UnreachableError(f"{self._target} gives no answer within {self._target.timeout_s:g} s") from error
        except h11.ProtocolError as error:
            raise UnreachableError(f"{self._target} speaks no HTTP: {error}") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise UnreachableError(f"{self._target} cannot be reached: {why(error)}") from error
        finally:
            if not done or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                await self.aclose()
        if self._stream is not None:
            self._http.start_next_cycle()
        return answer

    async def _dialogue(self, request: Request) -> Answer:
        if self._stream is None:
            with trio.fail_after(CONNECT_S):
                self._stream = await open_stream(self._address, self._tls)
            self._http = h11.Connection(h11.CLIENT)
        headers = {
            "Host": str(self._address),
            "Content-Type": request.content_type,
            "Content-Length": str(len(request.body)),
            **request.headers,
        }
        event = h11.Request(method="POST", target=self._path + request.path, headers=list(headers.items()))
        head, found = await exchange(self._stream, self._http, event, request.body, MAX_ANSWER)
        return Answer(head.status_code, found)


def tls_context(ca: str) -> ssl.SSLContext:
    """TLS that trusts the machine's authorities, and those of `ca` (PEM). DeniedError when that is no PEM."""
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError) as error:
            raise DeniedError(f"ca.crt of the Secret holds no certificate in PEM: {error}") from error
    return context


def _said(answer: Answer) -> str:
    text = " ".join(answer.body[: 4 * TEXT].decode(errors="replace").split())[:TEXT]
    return f": {text}" if text else ""
