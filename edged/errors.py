"""The few errors that cross rooms. Each names its HTTP and exit code where a door needs one, in that door, not here."""

from collections.abc import Sequence
from typing import NamedTuple


class EdgedError(Exception):
    """The base: an outcome that is declared, so a caller may act on it. Its text is one line for the person who reads it."""


class Cause(NamedTuple):
    """One thing wrong with a value: the field path (`spec.ports[0].port`), the API reason (`FieldValueInvalid`), the text."""

    field: str
    reason: str
    message: str


class InvalidError(EdgedError):
    """A value from outside is not what its kind asks for. Every cause names its field."""

    def __init__(self, message: str, causes: Sequence[Cause] = ()) -> None:
        super().__init__(message)
        self.causes = tuple(causes)


class NotFoundError(EdgedError):
    """The object, node or file that was named does not exist."""


class AlreadyExistsError(EdgedError):
    """An object of this name is there already."""


class ConflictError(EdgedError):
    """The object was changed since the caller read it: read it again and decide again."""


class ExpiredError(EdgedError):
    """The asked resourceVersion is older than what this node remembers: list again."""


class DeniedError(EdgedError):
    """The caller proved who it is, and may not do this; or it failed to prove who it is."""


class UnreachableError(EdgedError):
    """A peer, relay, device or runtime does not answer. It may later: retry with back-off."""


class ProtocolError(EdgedError):
    """Bytes from outside do not follow their protocol. The one error that a parser may raise."""


class StorageError(EdgedError):
    """The disk refuses to take writes. Reads go on; nothing that was acknowledged is lost."""


class QuotaError(StorageError):
    """This node has written as many objects as one node may: others would not take more. Remove some first."""
