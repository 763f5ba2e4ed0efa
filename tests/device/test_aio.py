import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from edged.device import aio
from edged.device.aio import Aio, Batches
from edged.errors import ProtocolError, UnreachableError

PATIENCE_S = 30


@pytest.fixture
async def loop() -> AsyncIterator[Aio]:
    made = Aio()
    yield made
    await made.aclose()
    assert "asyncio" not in [thread.name for thread in threading.enumerate()]


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_comes_back(loop: Aio) -> None:
    async def name() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    async def fails() -> None:
        raise UnreachableError("is away")

    assert await loop.run(name) == "asyncio"
    with pytest.raises(UnreachableError, match="is away"):
        await loop.run(fails)


async def test_connections_end_with_the_loop() -> None:
    kept: list[object] = []
    made = Aio()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()

    async def dial() -> None:
        kept.append(await asyncio.open_connection(host, port))

    async with listener:
        await made.run(dial)
        async with await listener.accept() as other:
            await made.aclose()
            with trio.fail_after(PATIENCE_S):
                assert await other.receive_some() == b""


async def test_a_cancelled_caller_cancels_the_call(loop: Aio) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            ended.append("work")

    with trio.move_on_after(0.05) as scope:
        await loop.run(work)
    assert scope.cancelled_caught
    assert ended == ["work"]


async def test_a_call_that_ignores_its_cancellation_holds_nobody_up(loop: Aio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "CANCEL_S", 0.05)
    let = threading.Event()

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            await asyncio.to_thread(let.wait, PATIENCE_S)

    with trio.fail_after(PATIENCE_S / 2), trio.move_on_after(0.05) as scope:
        await loop.run(stubborn)
    assert scope.cancelled_caught
    let.set()


async def test_the_end_of_the_loop_ends_its_calls() -> None:
    loop = Aio()
    errors: list[str] = []

    async def call() -> None:
        try:
            await loop.run(forever)
        except UnreachableError as error:
            errors.append(str(error))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            await loop.aclose()
    assert errors == ["the call was given up"]
    assert "asyncio" not in [thread.name for thread in threading.enumerate()]


async def test_batches_keep_the_order_and_lose_nothing(loop: Aio) -> None:
    batches: Batches[int] = Batches()

    async def send() -> None:
        for first in range(0, 5000, 5):
            batches.put(range(first, first + 5))
            if first % 500 == 0:
                await asyncio.sleep(0)
        batches.fail(UnreachableError("gone"))

    found: list[int] = []
    crossings = 0
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop.run, send)
            with pytest.raises(UnreachableError, match="gone"):
                while True:
                    found += await batches.receive()
                    crossings += 1
    assert found == list(range(5000))
    assert crossings < 1000


async def test_a_reader_that_does_not_follow_is_told(loop: Aio) -> None:
    batches: Batches[int] = Batches(most=3)

    async def send() -> None:
        batches.put([1, 2, 3])
        batches.put([4])
        batches.put([5])

    await loop.run(send)
    assert await batches.receive() == [1, 2, 3]
    with pytest.raises(ProtocolError, match="faster than this node takes: 3 values wait"):
        await batches.receive()
