"""The first request on a connection, and plain HTTP answers to those that ask for no WebSocket.

trio-websocket speaks the upgrade only, so the relay reads the head of the first request itself: `/healthz` and `/metrics`
are then served on the one port that is open anyway, and whatever asks for a WebSocket is replayed to trio-websocket.
"""

from typing import NamedTuple

import h11
import trio

from edged.errors import ProtocolError

MAX_HEAD = 16 << 10  # bytes of a request's head: proxies add some headers, browsers send cookies
RECEIVE = 16 << 10  # bytes asked of the stream at once


class Head(NamedTuple):
    """A request: its method, path, headers (names in lower case), and the bytes that were read to know them."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    raw: bytes

    def values(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return [value for key, value in self.headers if key == name]

    @property
    def websocket(self) -> bool:
        """Whether it asks for a WebSocket."""
        return any(value.lower() == "websocket" for value in self.values("upgrade"))


async def read_head(stream: trio.abc.Stream) -> Head | None:
    """The first request's head; None when the other side closed before it was whole. Raises ProtocolError."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    raw = bytearray()
    while True:
        data = bytes(await stream.receive_some(RECEIVE))
        if not data:
            return None
        raw += data
        try:
            connection.receive_data(data)
            event = connection.next_event()
            if isinstance(event, h11.Request):
                headers = [(name.decode("ascii"), value.decode("ascii")) for name, value in event.headers]
                return Head(event.method.decode("ascii"), event.target.decode("ascii"), headers, bytes(raw))
        except (h11.RemoteProtocolError, UnicodeDecodeError) as error:  # wsproto takes ASCII only, and fails on the rest
            raise ProtocolError(f"not an HTTP request: {error}") from error


async def answer(stream: trio.abc.Stream, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
    """Write one response and end the connection's sending side; no keep-alive: who asks here asks rarely."""
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    await stream.send_all(f"{head}connection: close\r\n\r\n".encode() + body)


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Replayed(trio.abc.Stream):
    """A stream that first gives the bytes that were read from it already."""

    def __init__(self, stream: trio.abc.Stream, raw: bytes) -> None:
        self._stream = stream
        self._raw = raw

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The bytes read already, then what the stream gives."""
        if self._raw:
            raw, self._raw = self._raw, b""
            return raw
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send on the stream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait on the stream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
