"""What is asked of a web server, and what it answers (pure): the part of a method that is not its connection."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from edged.device.push.parcels import Parcel


class Request(NamedTuple):
    """A POST of a body to a path of the target."""

    path: str
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """What the server said; the body may be cut."""

    status: int
    body: bytes


Form = Callable[[Sequence[Parcel]], Iterable[Request]]

# Of an answer that HTTP calls a success: how many readings the target will never take. UnreachableError, DeniedError or
# InvalidError when it is no success.
Verdict = Callable[[Answer], int]


def accepted(_: Answer) -> int:
    """The verdict where HTTP's word is enough."""
    return 0
