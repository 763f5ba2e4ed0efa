"""Messages to bytes and back: MessagePack, a version in each first message, sizes checked before anything is allocated."""

from typing import Any, Generic, TypeVar

import msgspec

from edged.errors import ProtocolError

VERSION = 1
MAX_FRAME = 1 << 20  # bytes of one length-prefixed frame of the peer protocol: a delta of 256 registers, or one large object
LENGTH = 4  # bytes of the big-endian length before a frame

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A message: an array whose first element is its name. New fields go last, with a default, so old readers skip them."""


class Codec(Generic[T]):
    """Encodes and decodes one union of messages. `decode` raises ProtocolError and nothing else, whatever the bytes."""

    def __init__(self, type_: Any, limit: int) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(type_)
        self._limit = limit

    def encode(self, message: T) -> bytes:
        """The message as MessagePack."""
        return self._encoder.encode(message)

    def decode(self, data: bytes | bytearray | memoryview) -> T:
        """One message out of exactly these bytes."""
        if len(data) > self._limit:
            raise ProtocolError(f"a message of {len(data)} bytes, at most {self._limit} are taken")
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
            raise ProtocolError(f"not a message of version {VERSION}: {error}") from error


def framed(data: bytes) -> bytes:
    """`data` behind its length."""
    if len(data) > MAX_FRAME:
        raise ProtocolError(f"a frame of {len(data)} bytes, at most {MAX_FRAME} may be sent")
    return len(data).to_bytes(LENGTH, "big") + data


class Frames:
    """Length-prefixed frames out of a byte stream, however it is cut. `feed` what arrived, then `next` until None."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes | bytearray) -> None:
        """Append bytes that arrived."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole frame, or None until more arrives. A length over the limit raises ProtocolError at once."""
        if len(self._buffer) < LENGTH:
            return None
        length = int.from_bytes(self._buffer[:LENGTH], "big")
        if length > self._limit:
            raise ProtocolError(f"a frame of {length} bytes, at most {self._limit} are taken")
        if len(self._buffer) < LENGTH + length:
            return None
        frame = bytes(self._buffer[LENGTH : LENGTH + length])
        del self._buffer[: LENGTH + length]
        return frame

    def rest(self) -> bytes:
        """What is buffered beyond the last whole frame; the buffer is empty afterwards (a stream that stops framing)."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest
