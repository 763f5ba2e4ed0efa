"""Asks the daemon of this machine, through its Unix socket. A shell."""

import json
import socket
from pathlib import Path
from typing import Any

import h11

from edged.errors import DeniedError, EdgedError, ProtocolError, UnreachableError

TIMEOUT_S = 5.0  # for each step of one request: the daemon is on this machine
MAX_ANSWER = 16 << 20  # bytes of an answer
RECEIVE = 64 << 10


def get(path: Path, target: str, *, wait: float = TIMEOUT_S) -> Any:
    """The JSON that the daemon at socket `path` answers to GET `target` within `wait` seconds.

    UnreachableError when no daemon answers, or it reaches not what is asked for, DeniedError when this user may not ask,
    ProtocolError for another answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(wait)
            connection.connect(str(path))
            status, body = _exchange(connection, target)
    except PermissionError as error:
        raise DeniedError(f"{path}: this user may not ask the daemon; try as root") from error
    except TimeoutError as error:
        raise UnreachableError(f"{path}: the daemon does not answer within {wait:.0f} s") from error
    except OSError as error:
        raise UnreachableError(f"{path}: {error.strerror}: is the daemon running? `edged run` starts it") from error
    except h11.RemoteProtocolError as error:
        raise ProtocolError(f"{path}: not an HTTP answer: {error}") from error
    if status in (401, 403):
        raise DeniedError(f"{path}: the daemon refuses: {_reason(body)}")
    if status == 503:
        raise UnreachableError(_reason(body))
    if status != 200:
        raise EdgedError(f"{path}: the daemon answered {status}: {_reason(body)}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{path}: not JSON: {error}") from error


def _exchange(connection: socket.socket, target: str) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=target, headers=[("Host", "localhost"), ("Connection", "close")])
    connection.sendall((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    status, body = 0, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(connection.recv(RECEIVE))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_ANSWER:
                raise ProtocolError(f"an answer of more than {MAX_ANSWER} bytes")
        else:
            return status, bytes(body)


def _reason(body: bytes) -> str:
    """What an error's body says: the message of a Kubernetes Status, or its first words."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return body[:200].decode(errors="replace")
