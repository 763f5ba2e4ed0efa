import threading

import pytest
import trio

from edged.kit.executor import Executor, Inline, Worker


@pytest.mark.parametrize("executor", [Worker(), Inline()])
async def test_results_and_errors_come_back(executor: Executor) -> None:
    assert await executor.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await executor.run(lambda: 1 // 0)


async def test_a_worker_is_another_thread_and_does_one_thing_at_a_time() -> None:
    worker, inside, most = Worker(), 0, 0
    lock = threading.Lock()
    barrier = threading.Event()

    def job() -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        barrier.wait(0.01)
        with lock:
            inside -= 1
        return threading.get_ident()

    idents: list[int] = []

    async def one() -> None:
        idents.append(await worker.run(job))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(one)
    assert most == 1
    assert threading.get_ident() not in idents


async def test_inline_stays_here() -> None:
    assert await Inline().run(threading.get_ident) == threading.get_ident()
