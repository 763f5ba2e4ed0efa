"""The journal: a way that keeps up costs no flash, one that does not loses nothing, and a disk that fails stops nobody."""

import errno
import io
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from edged.device.history.journal import AGAIN_S, Journal
from edged.device.history.ring import Limits
from edged.device.history.tail import CHECKPOINT_S, GAP_S, MAX_TAIL, UNSENT_S
from edged.device.readings import Reading
from edged.kit.executor import Inline, Worker
from edged.kit.log import Log
from tests.store.tap import Operation, code, refuse, tapped

ROOT = Path(__file__).parents[3]
FILE = "readings.db"
WALL = 1_764_000_000.0
MB = 1 << 20


class Told:
    def __init__(self) -> None:
        self.log = io.StringIO()
        self.events: list[tuple[str, str]] = []

    async def tell(self, reason: str, message: str) -> None:
        self.events.append((reason, message))


@asynccontextmanager
async def running(
    directory: Path, told: Told | None = None, policy: str = "drop-oldest", limit: int = 64 * MB, wall: float = WALL
) -> AsyncIterator[Journal]:
    """A journal whose disk work runs inline: for a clock that the test moves."""
    told = told or Told()
    log, limits = Log(stream=told.log), Limits(limit, 7 * 86400)
    made = Journal(directory / FILE, limits, policy, lambda: wall, log, told.tell, Inline(), Inline())  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


def say(journal: Journal, *values: str, device: str = "meter", name: str = "power") -> None:
    for value in values:
        journal.append("default", device, [Reading(name, "string", value, int(WALL * 1000))])


def in_file(directory: Path) -> int:
    with sqlite3.connect(f"file:{directory / FILE}?mode=ro", uri=True) as connection:
        (count,) = connection.execute("SELECT coalesce(sum(count), 0) FROM blocks").fetchone()
    connection.close()
    return int(count)


def values(reports: list) -> list[str]:  # type: ignore[type-arg]
    return [reading.value for report in reports for reading in report.readings]


async def test_a_way_that_keeps_up_costs_no_commit(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with running(tmp_path) as journal:
        journal.keep_ways(["mqtt"])
        await trio.sleep(5)
        before = journal.statistics().commits
        cursor = journal.ways["mqtt"]
        for number in range(200):
            say(journal, str(number))
            (report,) = await journal.after(cursor)
            cursor = report.id
            assert values([report]) == [str(number)]
            journal.acknowledge("mqtt", cursor)
            await trio.sleep(1)
        assert journal.statistics().commits == before
        await trio.sleep(CHECKPOINT_S)
        assert in_file(tmp_path) == 200
        assert journal.statistics().commits <= before + 2  # and the cursor


async def test_a_way_that_is_a_little_behind_all_the_time_costs_no_commit(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path) as journal:
        journal.keep_ways(["mqtt"])
        say(journal, "one that waits")
        await trio.sleep(5)  # and is in the file, so that the cursor must be, too
        before = journal.statistics().commits
        for _ in range(500):
            say(journal, "1")
            journal.acknowledge("mqtt", (await journal.after(journal.ways["mqtt"], 1))[0].id)
            await trio.sleep(0.1)
        assert journal.statistics().commits <= before + 2


async def test_what_a_way_stops_taking_is_in_the_file_within_a_second(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path) as journal:
        journal.keep_ways(["mqtt"])
        for _ in range(50):
            say(journal, "1")
            journal.acknowledge("mqtt", (await journal.after(journal.ways["mqtt"], 1))[0].id)
            await trio.sleep(0.1)
        assert in_file(tmp_path) == 0
        for number in range(50):
            say(journal, "1")
            await trio.sleep(0.1)
            assert 50 + number + 1 - in_file(tmp_path) <= (GAP_S + 0.1) / 0.1 + 1 or number < (UNSENT_S + 0.1) / 0.1


async def test_what_a_way_does_not_take_is_in_the_file_within_a_second(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path) as journal:
        journal.keep_ways(["mqtt"])
        await trio.sleep(5)
        for number in range(100):
            say(journal, str(number))
            await trio.sleep(0.1)
            assert number + 1 - in_file(tmp_path) <= (GAP_S + 0.1) / 0.1 + 1
        assert journal.statistics().commits <= 10 / GAP_S + 3
        cursor, found = journal.ways["mqtt"], []
        while len(found) < 100:
            reports = await journal.after(cursor, 7)
            found += values(reports)
            cursor = reports[-1].id
        assert found == [str(number) for number in range(100)]


async def test_without_ways_history_waits_for_the_checkpoint_and_is_written_at_a_planned_stop(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path) as journal:
        say(journal, "1", "2")
        await trio.sleep(CHECKPOINT_S - 1)
        assert in_file(tmp_path) == 0
        await trio.sleep(2)
        assert in_file(tmp_path) == 2
        say(journal, "3")
    assert in_file(tmp_path) == 3


async def test_a_way_goes_on_where_it_was_and_ids_rise_over_restarts(tmp_path: Path) -> None:
    last = 0
    for round_ in range(3):
        async with running(tmp_path, wall=WALL - round_ * 1e6) as journal:  # a clock that goes back
            journal.keep_ways(["mqtt"])
            say(journal, *(f"{round_}-{number}" for number in range(3)))
            reports = await journal.after(journal.ways["mqtt"])
            while len(reports) < 3 + (round_ > 0):
                reports += await journal.after(reports[-1].id)
            assert values(reports)[-3:] == [f"{round_}-{number}" for number in range(3)]
            assert values(reports)[:-3] == ([f"{round_ - 1}-2"] if round_ else [])
            assert reports[-3].id > last
            last = reports[-1].id
            journal.acknowledge("mqtt", reports[-2].id)  # all but the last


async def test_a_new_way_begins_with_what_comes_and_one_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as journal:
        say(journal, "before")
        journal.keep_ways(["mqtt", "http"])
        say(journal, "after")
        assert values(await journal.after(journal.ways["mqtt"])) == ["after"]
        journal.keep_ways(["mqtt"])
        assert list(journal.ways) == ["mqtt"]
        journal.acknowledge("http", 1 << 60)
        assert list(journal.ways) == ["mqtt"]
    async with running(tmp_path) as journal:
        assert list(journal.ways) == ["mqtt"]


async def test_who_waits_for_reports_is_woken(tmp_path: Path) -> None:
    async with running(tmp_path) as journal, trio.open_nursery() as nursery:
        journal.keep_ways(["mqtt"])
        got: list[str] = []

        async def wait() -> None:
            got.extend(values(await journal.after(journal.ways["mqtt"])))
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        say(journal, "here")
        await trio.sleep(30)
    assert got == ["here"]


async def test_history_is_of_one_property_newest_first_chosen_and_oldest_first_told(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path) as journal:
        for number in range(20):
            for device in ("meter", "pump"):
                at = 1000 * number
                readings = [Reading("power", "int", str(number), at), Reading("voltage", "int", "230", at)]
                journal.append("default", device, readings)
            if number == 10:
                journal.keep_ways(["a way"])  # the first half goes to the file
                await trio.lowlevel.checkpoint()
                say(journal, "x", device="other")
                await trio.sleep(UNSENT_S + GAP_S * 2)
                assert in_file(tmp_path)
        found = await journal.history("default", "meter", "power")
        assert [each.value for each in found] == [str(number) for number in range(20)]
        assert [each.value for each in await journal.history("default", "meter", "power", limit=3)] == ["17", "18", "19"]
        some = await journal.history("default", "pump", "power", since=5000, until=8000)
        assert [each.value for each in some] == ["5", "6", "7", "8"]
        assert len(await journal.history("default", "meter")) == 40
        assert await journal.history("default", "nobody") == []
        assert await journal.history("default", "meter", limit=0) == []


async def test_a_disk_that_fails_costs_nothing_that_fits_in_memory(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    failing, told = False, Told()

    def tap(operation: Operation) -> int | None:
        return refuse(errno.ENOSPC, code("write", errno.ENOSPC)) if failing and operation.kind == "write" else None

    with tapped(tmp_path, tap):
        async with running(tmp_path, told) as journal:
            journal.keep_ways(["mqtt"])
            await trio.sleep(1)
            failing = True
            say(journal, *map(str, range(100)))
            await trio.sleep(UNSENT_S + GAP_S + AGAIN_S * 3)
            assert journal.statistics().refused
            assert told.log.getvalue().count("takes no readings: the disk is full") == 1
            assert values(await journal.after(journal.ways["mqtt"])) == [str(number) for number in range(100)]
            failing = False
            await trio.sleep(AGAIN_S + 1)
            assert not journal.statistics().refused
            assert in_file(tmp_path) == 100
            assert journal.statistics().dropped == {"full": 0, "disk": 0}


async def test_a_disk_that_fails_for_long_holds_no_more_than_its_limit(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    told = Told()
    (tmp_path / FILE).mkdir()  # nothing can be opened there
    async with running(tmp_path, told) as journal:
        journal.keep_ways(["mqtt"])
        await trio.sleep(AGAIN_S)
        count, value = 30, "v" * (MAX_TAIL // 20)
        for number in range(count):
            say(journal, f"{number} {value}")
        await trio.sleep(AGAIN_S * 2)
        reports = await journal.after(journal.ways["mqtt"])
        assert [each.partition(" ")[0] for each in values(reports)] == [str(number) for number in range(count - 19, count)]
        assert journal.statistics().dropped["disk"] == count - 19
        assert [reason for reason, _ in told.events] == ["ReadingsLost"]
        (tmp_path / FILE).rmdir()
        await trio.sleep(AGAIN_S + 1)
        assert in_file(tmp_path) == 19


@pytest.mark.parametrize("policy", ["drop-oldest", "thin-newest"])
async def test_full_loses_by_policy_and_counts(tmp_path: Path, policy: str, autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    async with running(tmp_path, told, policy, limit=300_000) as journal:
        journal.keep_ways(["mqtt"])
        for number in range(400):
            say(journal, f"{number} {os.urandom(1000).hex()}")
            await trio.sleep(0.5)
        counted = journal.statistics()
        found = await _numbers(journal)
        assert found == sorted(found)
        assert [reason for reason, _ in told.events] == ["ReadingsLost"]
        if policy == "drop-oldest":
            assert found == list(range(found[0], 400))
            assert counted.dropped["full"] == found[0]
            assert counted.thinned == 0
        else:
            assert counted.thinned + counted.dropped["full"] + len(found) == 400
            assert found[0] < 40  # the oldest is there
            assert counted.thinned > 100
        names = {name for name, *_ in journal.figures()}
        assert {"edged_history_dropped_total", "edged_history_thinned_total"} <= names


WORKER = """
import sys, trio
from pathlib import Path
from edged.device.history.journal import Journal
from edged.device.history.ring import Limits
from edged.device.readings import Reading
from edged.kit.executor import Worker
from edged.kit.log import Log

async def tell(reason, message): pass

async def main():
    limits = Limits(1 << 26, 7 * 86400)
    journal = Journal(Path(sys.argv[1]), limits, "drop-oldest", lambda: 1.7e9, Log(), tell, Worker(), Worker())
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        journal.keep_ways(["mqtt"])
        number = int(sys.argv[2])
        while True:
            journal.append("default", "meter", [Reading("n", "int", str(number), int(trio.current_time() * 1000))])
            print(number, flush=True)
            number += 1
            await trio.sleep(0.005)

trio.run(main)
"""


async def test_kill_9_costs_at_most_the_last_second_and_no_order(tmp_path: Path) -> None:
    begin, gone = 0, 0
    for _ in range(2):
        argv = [sys.executable, "-c", WORKER, str(tmp_path / FILE), str(begin)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            last, count = begin, 0
            for line in process.stdout:
                last, count = int(line), count + 1
                if count == 700:  # three seconds and more
                    os.kill(process.pid, signal.SIGKILL)
        async with running(tmp_path) as journal:
            found = await _numbers(journal)
        assert found == sorted(set(found))
        assert last - found[-1] <= 2 / 0.005  # a second is promised; a busy disk may take another
        gone += last - found[-1]
        begin = last + 1
    assert len(found) == begin - gone


async def _numbers(journal: Journal) -> list[int]:
    """The number that each value begins with, of all that a way has not had."""
    found: list[int] = []
    cursor = journal.ways["mqtt"]
    with trio.move_on_after(1):
        while True:
            reports = await journal.after(cursor)
            found += [int(value.partition(" ")[0]) for value in values(reports)]
            cursor = reports[-1].id
    return found


async def test_it_runs_on_threads(tmp_path: Path) -> None:
    log, told = Log(stream=io.StringIO()), Told()
    journal = Journal(tmp_path / FILE, Limits(MB, 1.0), "drop-oldest", lambda: WALL, log, told.tell, Worker(), Worker())
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        journal.keep_ways(["mqtt"])
        await _filled(lambda number: say(journal, f"{number} {'v' * 1000}"))
        cursor, count = journal.ways["mqtt"], 0
        while count < 2000:
            reports = await journal.after(cursor, 100)
            assert [int(value.partition(" ")[0]) for value in values(reports)] == list(range(count, count + len(reports)))
            cursor, count = reports[-1].id, count + len(reports)
            journal.acknowledge("mqtt", cursor)
        nursery.cancel_scope.cancel()
    assert in_file(tmp_path) == 2000


async def _filled(one: Callable[[int], None]) -> None:
    for number in range(2000):
        one(number)
        if number % 50 == 0:
            await trio.lowlevel.checkpoint()
