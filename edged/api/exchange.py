"""A request as it came in and the answer that goes out: what the HTTP shell and the rest of the room share."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from edged.api.who import Caller
from edged.model.objects import dump

JSON_TYPE = "application/json"
MAX_DIGITS = 18
_TRUE = {"1", "t", "true"}


class ByteStream(Protocol):
    """Bytes that come piece by piece until they end: an async generator, or a stream to receive from."""

    def __aiter__(self) -> Any:
        """Itself."""

    async def aclose(self) -> None:
        """No more is wanted."""


class Request(NamedTuple):
    """One request, its body whole. Header names are in lower case; of a repeated query parameter the last counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: Caller | None

    @property
    def accept(self) -> str:
        """The Accept header, `*/*` when there is none."""
        return self.headers.get("accept") or "*/*"

    @property
    def content_type(self) -> str:
        """The media type of the body without parameters; JSON when it says none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON_TYPE


class Answer(NamedTuple):
    """What goes back. A stream as body is sent piece by piece as it comes, until it ends or the client is gone."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes | ByteStream


def json_answer(status: int, value: Any, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """An answer of JSON values."""
    return Answer(status, [("Content-Type", JSON_TYPE), *headers], dump(value))


def text_answer(status: int, text: str, content_type: str = "text/plain; charset=utf-8") -> Answer:
    """An answer of plain text."""
    return Answer(status, [("Content-Type", content_type), ("X-Content-Type-Options", "nosniff")], text.encode())


def number(text: object) -> int | None:
    """The whole number that a text says in at most 18 digits (so that it fits 64 bits), None when it says none."""
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
        return int(text)
    return None


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a query parameter is set to true."""
    return query.get(name, "").lower() in _TRUE
