"""KubeEdge's ServiceBus, as a program of the node speaks to it: `{method,targetURL,payload}`, `{code,msg,body}`. Pure."""

from typing import Any, NamedTuple

import msgspec

from edged.errors import ProtocolError

MAX_URL = 2048  # characters of a targetURL


class _Request(msgspec.Struct, frozen=True):
    target_url: str = msgspec.field(name="targetURL")
    method: str = "POST"
    payload: Any = None


class Asked(NamedTuple):
    """What a program wants told to whoever is behind `target_url`."""

    method: str
    target_url: str
    payload: bytes


def parse(body: bytes) -> Asked:
    """A request. The payload is told as it is when it is text, else as JSON. ProtocolError says what is wrong."""
    try:
        asked = msgspec.json.decode(body, type=_Request)
        payload = asked.payload.encode() if isinstance(asked.payload, str) else msgspec.json.encode(asked.payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"expected JSON with method, targetURL and payload: {error}") from error
    if len(asked.target_url) > MAX_URL:
        raise ProtocolError(f"targetURL: at most {MAX_URL} characters are taken")
    return Asked(asked.method, asked.target_url, payload)


def answer(code: int, message: str, body: bytes) -> bytes:
    """What became of it."""
    return msgspec.json.encode({"code": code, "msg": message, "body": body.decode(errors="replace")})
