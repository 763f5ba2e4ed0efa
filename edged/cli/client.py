"""Asks the daemon of this machine, through its Unix socket. A shell."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11

from edged.errors import DeniedError, EdgedError, InvalidError, ProtocolError, UnreachableError

TIMEOUT_S = 5.0  # for each step of one request: the daemon is on this machine
MAX_ANSWER = 16 << 20  # bytes of an answer, or of one line of an answer that goes on
RECEIVE = 64 << 10
TYPE = "application/json"
_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')  # RFC 7234, 5.5, as Kubernetes uses it
WRONG = (400, 422)  # the answers to a request that says something that cannot be


def get(path: Path, target: str, *, wait: float = TIMEOUT_S) -> Any:
    """The JSON that the daemon at socket `path` answers to GET `target` within `wait` seconds. Errors as `ask`."""
    return ask(path, "GET", target, wait=wait)


def ask(path: Path, method: str, target: str, body: Any = None, *, of: str = TYPE, wait: float = TIMEOUT_S) -> Any:
    """The JSON that the daemon at socket `path` answers to a request, whose body (JSON values) is of media type `of`.

    UnreachableError when no daemon answers, or it reaches not what is asked for, DeniedError when this user may not ask,
    InvalidError when it refuses what the request says, ProtocolError for an answer that is none, EdgedError for any other.
    """
    with _dialogue(path, wait) as connection:
        response, pieces = _exchange(connection, method, target, body, of)
        answer = _whole(pieces)
    if response.status_code in (200, 201):
        return _json(path, answer)
    raise _error(path, response.status_code, answer)


def lines(
    path: Path, target: str, *, wait: float | None = None, warned: Callable[[str], None] = lambda _: None
) -> Iterator[Any]:
    """The lines of JSON that the daemon answers to GET `target`, as they come; `wait` seconds for each, None: for ever.

    What is not as it should be with the answer is told to `warned` before the first.
    """
    with _dialogue(path, wait or TIMEOUT_S) as connection:
        response, pieces = _exchange(connection, "GET", target, None, TYPE)
        if response.status_code != 200:
            raise _error(path, response.status_code, _whole(pieces))
        for name, value in response.headers:
            if name == b"warning" and (warning := _WARNING.fullmatch(value.decode("latin-1"))):
                warned(re.sub(r"\\(.)", r"\1", warning[1]))
        connection.settimeout(wait)
        left = b""
        for piece in pieces:
            *whole, left = (left + piece).split(b"\n")
            yield from (_json(path, line) for line in whole)
            if len(left) > MAX_ANSWER:
                raise ProtocolError(f"{path}: a line of more than {MAX_ANSWER} bytes")


@contextmanager
def _dialogue(path: Path, wait: float) -> Iterator[socket.socket]:
    """A connection to the daemon; what goes wrong on it is told in our words."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(wait)
            connection.connect(str(path))
            yield connection
    except PermissionError as error:
        raise DeniedError(f"{path}: this user may not ask the daemon; try as root") from error
    except TimeoutError as error:
        raise UnreachableError(f"{path}: the daemon does not answer within {wait:.0f} s") from error
    except OSError as error:
        raise UnreachableError(f"{path}: {error.strerror}: is the daemon running? `edged run` starts it") from error
    except h11.RemoteProtocolError as error:
        raise ProtocolError(f"{path}: not an HTTP answer: {error}") from error


def _exchange(connection: socket.socket, method: str, target: str, body: Any, of: str) -> tuple[h11.Response, Iterator[bytes]]:
    http = h11.Connection(h11.CLIENT)
    data = b"" if body is None else json.dumps(body).encode()
    headers = [("Host", "localhost"), ("Connection", "close")]
    if data:
        headers += [("Content-Type", of), ("Content-Length", str(len(data)))]
    sent = http.send(h11.Request(method=method, target=target, headers=headers)) or b""
    sent += (http.send(h11.Data(data=data)) or b"") if data else b""
    connection.sendall(sent + (http.send(h11.EndOfMessage()) or b""))
    while not isinstance(event := _event(http, connection), h11.Response):
        pass
    return event, _pieces(http, connection)


def _pieces(http: h11.Connection, connection: socket.socket) -> Iterator[bytes]:
    while isinstance(event := _event(http, connection), h11.Data):
        yield bytes(event.data)


def _event(http: h11.Connection, connection: socket.socket) -> Any:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(connection.recv(RECEIVE))
    return event


def _whole(pieces: Iterator[bytes]) -> bytes:
    answer = bytearray()
    for piece in pieces:
        answer += piece
        if len(answer) > MAX_ANSWER:
            raise ProtocolError(f"an answer of more than {MAX_ANSWER} bytes")
    return bytes(answer)


def _error(path: Path, status: int, body: bytes) -> EdgedError:
    if status in (401, 403):
        return DeniedError(f"{path}: the daemon refuses: {_reason(body)}")
    if status == 503:
        return UnreachableError(_reason(body))
    if status in WRONG:
        return InvalidError(_reason(body))
    return EdgedError(f"{path}: the daemon answered {status}: {_reason(body)}")


def _json(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{path}: not JSON: {error}") from error


def _reason(body: bytes) -> str:
    """What an error's body says: the message of a Kubernetes Status, or its first words."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return body[:200].decode(errors="replace")
