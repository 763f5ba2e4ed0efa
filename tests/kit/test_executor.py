import threading

import pytest
import trio
import trio.testing

from edged.kit import executor
from edged.kit.executor import Executor, Inline, Worker


@pytest.mark.parametrize("runs", [Worker(), Inline()])
async def test_results_and_errors_come_back(runs: Executor) -> None:
    assert await runs.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await runs.run(lambda: 1 // 0)


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


async def test_a_worker_that_has_nothing_to_do_ends_its_thread_and_starts_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "IDLE_S", 0.0)
    worker = Worker()
    for _ in range(3):
        (await worker.run(threading.current_thread)).join()  # it ends
    monkeypatch.undo()
    assert await worker.run(threading.get_ident) == await worker.run(threading.get_ident)


async def test_who_is_cancelled_waits_for_what_was_begun_and_never_begins() -> None:
    worker, begun, go, done = Worker(), trio.Event(), threading.Event(), list[str]()
    token = trio.lowlevel.current_trio_token()

    def job() -> None:
        token.run_sync_soon(begun.set)
        go.wait()
        done.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, job)
        await begun.wait()
        nursery.start_soon(worker.run, lambda: done.append("second"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        go.set()
    assert done == ["first"]
    await worker.run(lambda: done.append("third"))
    assert done == ["first", "third"]


async def test_inline_stays_here() -> None:
    assert await Inline().run(threading.get_ident) == threading.get_ident()
