"""A stream that a peer opened to be told something: Opened and the text to its end, or Refused."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import trio

from edged.errors import EdgedError
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, Opened, Refused

READ_BYTES = 1024  # nothing is expected from who reads but the end


async def serve_text(
    open_text: Callable[[], Awaitable[AsyncGenerator[bytes, None]]], stream: trio.abc.HalfCloseableStream
) -> None:
    """Say on `stream` what `open_text` opens; its declared errors are the reason of a refusal. The peer's end means enough."""
    async with stream:
        try:
            text = await open_text()
        except EdgedError as error:
            await stream.send_all(framed(ANSWER.encode(Refused(str(error)))))
            return
        async with aclosing(text), trio.open_nursery() as nursery:
            nursery.start_soon(_until_enough, stream, nursery.cancel_scope)
            try:
                await stream.send_all(framed(ANSWER.encode(Opened())))
                async for chunk in text:
                    await stream.send_all(chunk)
                await stream.send_eof()
            except (trio.BrokenResourceError, EdgedError):
                pass  # the peer is gone, or what was told of: that is the end of the text
            nursery.cancel_scope.cancel()


async def _until_enough(stream: trio.abc.HalfCloseableStream, scope: trio.CancelScope) -> None:
    try:
        while await stream.receive_some(READ_BYTES):
            pass
    except trio.BrokenResourceError:
        pass
    scope.cancel()
