"""What the units of a line share: one connection, turns on it, and the news that it cannot be made. A shell."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import trio

from edged.device.modbus.address import Patience
from edged.device.modbus.pdu import Request, SilentError
from edged.errors import ProtocolError, UnreachableError

CONNECT_S = 5.0  # a device on a slow radio link answers a SYN within 3
PIECE = 512  # bytes; a frame has at most 260


class GoneError(UnreachableError):
    """The connection of a line ended. One that had been of use, and idle since, is made anew before this is told."""


S = TypeVar("S")


class Line(ABC, Generic[S]):
    """One connection, `S`. Units take turns, in the order in which they ask. `users` is how many sessions need it."""

    KIND: ClassVar[str]

    def __init__(self) -> None:
        self.users = 0
        self._stream: S | None = None
        self.useful = False  # this connection has carried an answer
        self._turn = trio.Lock()
        self._failure, self._failed_at = "", -1.0

    async def connect(self) -> None:
        """Connect, unless it is connected. UnreachableError when that does not succeed."""
        asked = trio.current_time()
        async with self._turn:
            await self._connected(asked)

    async def ask(self, unit: int, request: Request, patience: Patience) -> bytes:
        """The data of the answer; b"" confirms a write. UnreachableError, ProtocolError, PropertyError in its stead.

        SilentError says that the line is well, but not this unit.
        """
        renewed = False
        tries = patience.retries
        while True:
            useful = self.useful
            try:
                return await self._ask(unit, request, patience)
            except GoneError:
                if renewed or not useful:
                    raise
                renewed = True
            except (SilentError, ProtocolError):
                if not tries:
                    raise
                tries -= 1

    async def _connected(self, asked: float) -> S:
        """The connection, made now if need be, in one's turn. Who waited since `asked` shares the failure of those before."""
        if self._stream is not None:
            return self._stream
        if self._failed_at >= asked:
            raise UnreachableError(self._failure)
        self.useful = False
        try:
            with trio.fail_after(CONNECT_S):
                self._stream = await self._open()
        except trio.TooSlowError as error:
            raise self._failed(f"does not take a connection within {CONNECT_S:g} s") from error
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            raise self._failed(f"{self.KIND}: {_reason(error)}") from error
        return self._stream

    def _failed(self, text: str) -> UnreachableError:
        self._failure, self._failed_at = text, trio.current_time()
        return UnreachableError(text)

    @abstractmethod
    async def _open(self) -> S:
        """Make the connection. OSError when it cannot be made."""

    @abstractmethod
    async def _ask(self, unit: int, request: Request, patience: Patience) -> bytes:
        """Ask once, as `ask` says."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection at once; it is made again when somebody asks."""


AnyLine = Line[Any]


def _reason(error: OSError | ValueError) -> str:
    """In words; trio wraps the error of each address that it tried."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    found = cause if isinstance(cause, OSError) else error
    return (found.strerror if isinstance(found, OSError) else None) or str(found)
