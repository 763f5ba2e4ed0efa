"""What a server's bytes may cost. The library takes frames, messages and arrays of any size; here they have bounds.

A frame that is too large, a message of too many frames, a text of a negative length, and an array of more elements than
there are bytes for them are what no server sends that means well. Who waits for an answer gets ProtocolError's words.
"""

import asyncio
from typing import Any

from asyncua import ua
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua import ua_binary
from asyncua.ua.ua_binary import unpack_uatype_array

HEADER = 8  # bytes: kind, chunk, size (Part 6, 7.1.2.2)
MAX_FRAME = 1 << 16  # bytes of a frame, as it is offered to the server
MIN_FRAME = 8192  # bytes that both must take (Part 6, 7.1.2.3): less would make thousands of frames of a request
MAX_MESSAGE = 1 << 20  # bytes: 500 values of 2 kB; as objects they take 200 times as much for a moment, at worst
MAX_FRAMES = MAX_MESSAGE // MIN_FRAME  # of a message


class Channel(UaClient):  # type: ignore[misc]  # the library is not followed
    """The library's channel to a server, with these bounds."""

    def _make_protocol(self) -> "Frames":
        hooks = super()._make_protocol()
        self.protocol = Frames(self._timeout, self.security_policy)
        for name in ("pre_request_hook", "on_connection_lost", "is_session_closing"):
            setattr(self.protocol, name, getattr(hooks, name))
        return self.protocol


class Frames(UASocketProtocol):  # type: ignore[misc]
    """What comes on the socket, as whole frames."""

    def __init__(self, timeout: float, policy: Any) -> None:
        super().__init__(timeout, policy, Limits(MAX_FRAME, MAX_FRAME, MAX_FRAMES, MAX_MESSAGE))
        self._partial = bytearray()

    async def send_hello(self, url: str, *_: int) -> Any:
        """Begin, and tell the server these bounds; what it answers."""
        if self.transport is None:
            raise ConnectionError
        acknowledged = self._callbackmap[0] = asyncio.get_running_loop().create_future()
        hello = ua.Hello(0, MAX_FRAME, MAX_FRAME, MAX_MESSAGE, MAX_FRAMES, url)
        self.transport.write(ua_binary.uatcp_to_binary(ua.MessageType.Hello, hello))
        async with asyncio.timeout(self.timeout):
            return await acknowledged

    def data_received(self, data: bytes) -> None:
        """Take what came; part of a frame waits for the rest."""
        self._partial += data
        end, held = 0, len(self._partial)
        while held - end >= HEADER:
            size = int.from_bytes(self._partial[end + 4 : end + HEADER], "little")
            if not HEADER <= size <= MAX_FRAME:
                self._refuse(f"sends a frame of {size} bytes")
                return
            if size > held - end:
                break
            end += size
        if end:
            whole, self._partial = bytes(self._partial[:end]), self._partial[end:]
            self._process_received_data(whole)

    def _refuse(self, why: str) -> None:
        self._partial.clear()
        self._fail_all_pending(ua.UaError(why))
        if self.transport is not None:
            self.transport.abort()

    def _call_callback(self, request_id: int, body: Any) -> None:
        super()._call_callback(request_id, Body(bytes(body)) if isinstance(body, Buffer) else body)


class Limits(TransportLimits):  # type: ignore[misc]
    """Of what is received: ours, whatever the server says. Of what is sent: the server's."""

    def update_client_limits(self, answer: Any) -> None:
        """The server has acknowledged our hello."""
        if answer.ReceiveBufferSize < MIN_FRAME:
            raise ua.UaError(f"takes frames of {answer.ReceiveBufferSize} bytes only")
        self.max_send_buffer = min(MAX_FRAME, answer.ReceiveBufferSize)


class Body(Buffer):  # type: ignore[misc]
    """The body of a message. The library's would be read backwards, and so for ever, by a negative length."""

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if not 0 <= size <= self._size:
            raise NotEnoughData(f"{size} bytes are wanted of {self._size}")
        begin = self._cur_pos
        self._size -= size
        self._cur_pos += size
        return bytes(self._data[begin : self._cur_pos])

    def skip(self, size: int) -> None:
        """Go on behind these bytes."""
        self.read(size)

    def copy(self, size: int = -1) -> "Body":
        """The same bytes from here on, or the first of them."""
        return Body(self._data, self._cur_pos, self._size if size < 0 else min(size, self._size))


def bound_arrays() -> None:
    """Have the library refuse an array of nulls: they take no bytes, so that ten bytes would be 2 billion of them.

    In the whole process, as the library has no other place for it. Every other element takes a byte at least.
    """
    ua_binary.unpack_uatype_array = _unpack


def _unpack(type_: Any, data: Any) -> Any:
    if type_ == ua.VariantType.Null:
        raise ua.UaError("sends an array of nothing")
    return unpack_uatype_array(type_, data)
