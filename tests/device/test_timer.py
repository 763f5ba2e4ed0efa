import math

import pytest
import trio
import trio.testing

from edged.device.timer import Bell, Timer

pytestmark = pytest.mark.trio


async def test_each_waits_until_its_time(autojump_clock: trio.testing.MockClock) -> None:
    timer, woken = Timer(), []

    async def wait(seconds: float) -> None:
        await timer.sleep_until(trio.current_time() + seconds)
        woken.append((seconds, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        begin = trio.current_time()
        async with trio.open_nursery() as waiting:
            for seconds in (3.0, 1.0, 2.0, 1.0, 0.0):
                waiting.start_soon(wait, seconds)
        nursery.cancel_scope.cancel()
    assert [at - begin for _, at in woken] == pytest.approx([0, 1, 1, 2, 3])
    assert [seconds for seconds, _ in woken] == [0, 1, 1, 2, 3]


async def test_a_ring_before_the_time_and_one_that_was_kept(autojump_clock: trio.testing.MockClock) -> None:
    timer = Timer()
    bell = Bell(timer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        bell.ring()
        begin = trio.current_time()
        await bell.wait(begin + 5)
        assert trio.current_time() == begin
        await bell.wait(begin + 5)
        assert trio.current_time() == pytest.approx(begin + 5)
        nursery.start_soon(bell.wait, math.inf)
        await trio.testing.wait_all_tasks_blocked()
        bell.ring()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == pytest.approx(begin + 5)
        nursery.cancel_scope.cancel()


async def test_who_gives_up_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    timer = Timer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        for _ in range(3):
            with trio.move_on_after(1):
                await timer.sleep_until(trio.current_time() + 1800)
        assert timer._times == {}
        nursery.cancel_scope.cancel()
