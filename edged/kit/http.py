"""A question by HTTP/1.1 and its answer (RFC 9112, with h11), on a connection that others open and close."""

import h11
import trio

RECEIVE = 64 << 10  # bytes asked of the stream at once


async def exchange(
    stream: trio.abc.Stream, http: h11.Connection, request: h11.Request, body: bytes, limit: int
) -> tuple[h11.Response, bytes]:
    """Send `request` with `body`, and take the answer with its body: of more than `limit` bytes the rest is not read.

    trio.BrokenResourceError, or h11.ProtocolError, when there is no whole answer. Who calls sets the deadline.
    """
    said = [http.send(each) or b"" for each in (request, h11.Data(data=body), h11.EndOfMessage())]
    await stream.send_all(b"".join(said))
    head: h11.Response | None = None
    found = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(RECEIVE)))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            found += event.data
        elif not isinstance(event, h11.InformationalResponse | h11.EndOfMessage):
            raise trio.BrokenResourceError("it closed the connection")
        if head is not None and (isinstance(event, h11.EndOfMessage) or len(found) > limit):
            return head, found
