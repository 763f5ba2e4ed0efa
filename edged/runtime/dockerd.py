"""The way to a dockerd: calls by the Docker SDK, which blocks, in threads; streams read here, where they can be left.

The SDK's streams cannot be ended without its private parts, and each would hold a thread. The module `docker` is imported
when a `Dockerd` is made: a node without Docker does not pay for it.
"""

import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import h11
import msgspec
import trio

from edged.errors import ConflictError, InvalidError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from docker import APIClient

SOCKET = "/var/run/docker.sock"
TIMEOUT_S = 60  # a loaded dockerd on a slow card takes tens of seconds to create a container; none that lives takes longer
CALLS = 8  # calls at once: more make a small machine's dockerd slower, not faster
PULLS = 4  # images pulled at once, a thread each; further ones wait for their turn
READ_BYTES = 64 << 10
ERROR_BYTES = 64 << 10  # of an error's text; dockerd's have a few hundred
STATUS = {404: NotFoundError, 409: ConflictError}

T = TypeVar("T")


class Dockerd:
    """The dockerd at a Unix socket. It is reached when first asked, and again after `close`, by the API version it has then.

    Cancelling a call leaves its thread to end by itself, within TIMEOUT_S.
    """

    def __init__(self, socket: str) -> None:
        import docker  # noqa: PLC0415 - see above

        self.sdk = docker
        self._away = (docker.errors.DockerException, OSError, JSONDecodeError)  # requests' errors are OSErrors
        self._socket = socket
        self._client: APIClient | None = None
        self._connecting = trio.Lock()
        self._calls = trio.CapacityLimiter(CALLS)
        self._pulls = trio.CapacityLimiter(PULLS)

    async def call(self, function: Callable[["APIClient"], T]) -> T:
        """`ask`, where a refusal is no fault of what was asked: dockerd is not well, so it is UnreachableError."""
        try:
            return await self.ask(function)
        except InvalidError as error:
            raise UnreachableError(str(error)) from error

    async def ask(self, function: Callable[["APIClient"], T], *, long: bool = False) -> T:
        """Run `function` in a thread. NotFoundError, ConflictError, InvalidError as dockerd answers, or UnreachableError.

        `long`: it may take minutes, so it has threads of its own.
        """
        async with self._connecting:
            if self._client is None:
                self._client = await self._thread(self._connect, self._calls)
            client = self._client
        return await self._thread(partial(function, client), self._pulls if long else self._calls)

    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The body of a GET as it comes; the first piece, an empty one, says that it is going to come. Errors as `ask`."""
        try:
            connection = await trio.open_unix_socket(self._socket)
        except OSError as error:
            raise UnreachableError(f"docker: {self._socket}: {error.strerror}") from error
        async with connection:
            exchange = h11.Connection(h11.CLIENT)
            request = h11.Request(method="GET", target=f"{path}?{urlencode(query)}", headers=[("Host", "docker")])
            try:
                await connection.send_all((exchange.send(request) or b"") + (exchange.send(h11.EndOfMessage()) or b""))
                async with aclosing(_answer(connection, exchange)) as pieces:
                    async for piece in pieces:
                        yield piece
            except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
                raise UnreachableError(f"docker: {error}") from error

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _connect(self) -> "APIClient":
        # The SDK leaves the socket of a failed try to the garbage collector: ask it only when somebody listens.
        with socket.socket(socket.AF_UNIX) as listened:
            listened.settimeout(TIMEOUT_S)
            listened.connect(self._socket)
        return self.sdk.APIClient(f"unix://{self._socket}", version="auto", timeout=TIMEOUT_S)

    async def _thread(self, function: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
        try:
            return await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=limiter)
        except self.sdk.errors.APIError as error:
            declared = STATUS.get(error.status_code or 0, InvalidError)
            raise declared(f"docker: {error.explanation or error}") from error
        except self._away as error:
            raise UnreachableError(f"docker: {error}") from error


async def _answer(connection: trio.SocketStream, exchange: h11.Connection) -> AsyncGenerator[bytes, None]:
    refusal: type[Exception] | None = None
    text = b""
    while True:
        event = exchange.next_event()
        if event is h11.NEED_DATA:
            exchange.receive_data(await connection.receive_some(READ_BYTES))
        elif isinstance(event, h11.Response):
            refusal = None if event.status_code == 200 else STATUS.get(event.status_code, UnreachableError)
            if refusal is None:
                yield b""
        elif isinstance(event, h11.Data) and refusal is None:
            yield bytes(event.data)
        elif isinstance(event, h11.Data):
            text = (text + event.data)[:ERROR_BYTES]
        elif refusal is not None:
            raise refusal(f"docker: {_message(text)}")
        else:
            return


def _message(text: bytes) -> str:
    try:
        answer: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError):
        answer = {}
    return str(answer.get("message", text.decode(errors="replace")))


class LogFrames:
    """The text out of dockerd's log stream: frames of a stream number, three zeros, a big-endian length, and the bytes."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """The text in `data`, however the frames were cut."""
        text = b""
        while data:
            if self._left:
                text += data[: self._left]
                data, self._left = data[self._left :], max(0, self._left - len(data))
                continue
            missing = 8 - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) == 8:
                self._left, self._head = int.from_bytes(self._head[4:], "big"), b""
        return text
