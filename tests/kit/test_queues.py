import pytest
import trio

from edged.kit.queues import DropOldest


async def test_the_oldest_goes_and_is_counted() -> None:
    queue: DropOldest[int] = DropOldest(3)
    for number in range(5):
        queue.put(number)
    assert (len(queue), queue.dropped) == (3, 2)
    assert await queue.take(2) == [2, 3]
    assert await queue.take(9) == [4]


async def test_a_reader_waits_for_the_first() -> None:
    queue: DropOldest[str] = DropOldest(2)
    got: list[str] = []

    async def read(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        got.extend(await queue.take(10))

    async with trio.open_nursery() as nursery:
        await nursery.start(read)
        queue.put("a")
        queue.put("b")
    assert got == ["a", "b"]


def test_a_queue_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        DropOldest(0)
