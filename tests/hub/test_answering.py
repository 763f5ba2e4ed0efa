"""How a text is served to a peer; with containers' logs in tests/runtime/test_logs.py, with devices in tests/device."""

from collections.abc import AsyncGenerator

import trio
import trio.testing

from edged.errors import InvalidError
from edged.hub.answering import serve_text
from edged.wire.codec import Frames
from edged.wire.peer import ANSWER, Opened, Refused


async def pieces(*texts: bytes) -> AsyncGenerator[bytes, None]:
    for text in texts:
        yield text


async def heard(near: trio.abc.Stream) -> tuple[object, bytes]:
    frames = Frames()
    frames.feed(b"".join([bytes(data) async for data in near]))
    return ANSWER.decode(frames.next() or b""), frames.rest()


async def test_a_text_is_told_to_its_end() -> None:
    near, far = trio.testing.memory_stream_pair()

    async def opened() -> AsyncGenerator[bytes, None]:
        return pieces(b"one ", b"two")

    await serve_text(opened, far)
    assert await heard(near) == (Opened(), b"one two")


async def test_what_cannot_be_told_is_refused_with_the_reason() -> None:
    near, far = trio.testing.memory_stream_pair()

    async def refuses() -> AsyncGenerator[bytes, None]:
        raise InvalidError("there is no such thing")

    await serve_text(refuses, far)
    assert await heard(near) == (Refused("there is no such thing"), b"")


async def test_a_peer_that_has_enough_ends_it() -> None:
    near, far = trio.testing.memory_stream_pair()
    left = trio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            left.set()

    async def opened() -> AsyncGenerator[bytes, None]:
        return endless()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_text, opened, far)
            await near.receive_some()
            await near.send_eof()
    assert left.is_set()
