r"""The journal of what devices said: their history, and the queue of every way out. A shell.

    append -> tail (memory) -> ring (file) -> history, after
                  \-> after: a way that keeps up takes from memory

Nobody waits for the disk: while it takes nothing, the tail holds what it can, and writing resumes by itself. Ids begin at
each start at the clock's microseconds, or at what an earlier start reserved if that is more: so none is used twice, also
when the file or the clock was lost, though not when both were.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import trio

from edged.device.history.reports import Report
from edged.device.history.ring import Batch, Limits, Reader, Ring, Stand, chosen
from edged.device.history.tail import UNSENT_S, Tail
from edged.device.readings import Reading
from edged.errors import StorageError
from edged.kit.executor import Executor
from edged.kit.log import Log

T = TypeVar("T")
Policy = Literal["drop-oldest", "thin-newest"]
Tell = Callable[[str, str], Awaitable[None]]  # (reason, message) of something that a person should know

RESERVED = 1 << 24  # ids at once: hours of the busiest node, and hardly more microseconds than between two starts
MAX_BEGIN = 1 << 52  # a clock beyond this (the year 2112) is wrong; ids stay exact as JSON numbers (2**53)
AGAIN_S = 5.0  # a disk that takes no writes is asked again after this
FLUSH_S = 5.0  # for the last commit at a planned stop
THINNED_S = 60.0  # when full and thin-newest: one reading of a property in this time
MOST_THINNED = 100_000  # properties of which the time of the last is known; with more they begin anew
TOLD_S = 3600.0  # losses are told once in this time, and counted always
MOST_READINGS = 10_000  # of one answer of `history`
MOST_REPORTS = 1000  # of one answer of `after`
US = 1_000_000
EVER = 1 << 62


class Statistics(NamedTuple):
    """`dropped`: reports that some way had not had, because the ring was full, or the disk took nothing; `thinned` readings."""

    reports: int
    unsaved_bytes: int
    commits: int
    refused: bool
    dropped: Mapping[str, int]
    thinned: int
    rotten: int


class Journal:
    """What the devices of one node said. `wall` gives seconds since 1970; `writer` and `reader` run one thing at a time."""

    def __init__(
        self,
        path: Path,
        limits: Limits,
        policy: Policy,
        wall: Callable[[], float],
        log: Log,
        tell: Tell,
        writer: Executor,
        reader: Executor,
    ) -> None:
        self._policy, self._wall, self._log, self._tell = policy, wall, log, tell
        self._ring = Ring(path, limits, log)
        self._reader = Reader(self._ring, log)
        self._write, self._read = writer, reader
        self._tail = Tail()
        self._stand = Stand()  # what the file holds
        self._cursors: dict[str, int] = {}
        self._next = self._reserved = self._begin = 0  # ids: the next one, one not reached yet, the first of this start
        self._waiting: Mapping[str, int] = {}  # reports of earlier starts that a way had not had
        self._appended, self._due = trio.lowlevel.ParkingLot(), trio.Event()
        self._opened = self._full = False
        self._trouble = ""
        self._thinned: dict[tuple[str, str, str], float] = {}
        self._reports = self._commits = self._thinned_count = 0
        self._dropped = {"full": 0, "disk": 0}
        self._told, self._not_told = -TOLD_S, 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; what is in memory then is written. Started when the file is open, or cannot be for now."""
        await self._open()
        self._begin = self._next
        await self._commit()  # the ids of this start
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await self._until_due()
                    await self._commit()
                    self._tell_losses(nursery)
        finally:
            with trio.move_on_after(FLUSH_S, shield=True):
                await self._commit(everything=True)
            with trio.CancelScope(shield=True):
                await self._write.run(self._ring.close)
                await self._read.run(self._reader.close)

    async def _open(self) -> None:
        """At the start, and again while the file could not be opened: where each way was stands in it."""
        try:
            self._stand = stand = await self._write.run(partial(self._ring.open, self._wall()))
            self._opened, self._waiting = True, stand.waiting
            known = self._cursors or stand.cursors
            self._cursors = {**known, **{way: cursor for way, cursor in stand.cursors.items() if way in known}}
        except StorageError as error:
            self._refused(error)
        self._next = max(self._next, self._stand.reserved, self._stand.last + 1, min(int(self._wall() * US), MAX_BEGIN))

    # What comes in

    def append(self, namespace: str, device: str, readings: Sequence[Reading]) -> None:
        """Keep the readings of one device, in their order. It neither waits nor fails."""
        if self._full and self._policy == "thin-newest":
            readings = self._thin(namespace, device, readings)
        if not readings:
            return
        report = Report(self._next, namespace, device, tuple(readings))
        self._next += 1
        self._reports += 1
        if not len(self._tail):
            self._due.set()
        self._lost("disk", self._tail.append(report, trio.current_time()))
        if self._tail.full:
            self._due.set()
        self._appended.unpark_all()

    def _thin(self, namespace: str, device: str, readings: Sequence[Reading]) -> list[Reading]:
        now, kept = trio.current_time(), []
        if len(self._thinned) > MOST_THINNED:
            self._thinned.clear()
        for reading in readings:
            name = (namespace, device, reading.property)
            if now >= self._thinned.get(name, -THINNED_S) + THINNED_S:
                self._thinned[name] = now
                kept.append(reading)
        self._thinned_count += len(readings) - len(kept)
        return kept

    def _lost(self, reason: str, count: int) -> None:
        self._dropped[reason] += count
        self._not_told += count

    # The ways out

    @property
    def ways(self) -> Mapping[str, int]:
        """Each way out, and the id up to which it has had every report."""
        return self._cursors

    def keep_ways(self, ways: Collection[str]) -> None:
        """These are the ways out that there are: a new one begins with the next report, the others' cursors are forgotten."""
        for way in self._cursors.keys() - set(ways):
            del self._cursors[way]
        for way in ways:
            self._cursors.setdefault(way, self._next - 1)
        self._due.set()

    def queued(self, way: str) -> int:
        """The reports that a way has not had yet; of those of earlier starts, all while it has not had the last."""
        cursor = self._cursors.get(way, self._next - 1)
        earlier = self._waiting.get(way, 0) if cursor < self._begin - 1 and cursor < self._stand.last else 0
        return earlier + self._next - max(cursor + 1, self._begin)

    async def after(self, cursor: int, limit: int = MOST_REPORTS) -> list[Report]:
        """The next reports beyond an id, in order; waits until there are any. StorageError: the file cannot be read."""
        while True:
            found, last = [], self._stand.last
            if cursor < last:
                found = await self._read.run(partial(self._reader.after, cursor))
            found = found or self._tail.after(cursor, limit)
            if found:
                return found[:limit]
            if last == self._stand.last:  # else what was in memory went to the file meanwhile
                await self._appended.park()

    def acknowledge(self, way: str, upto: int) -> None:
        """A way has every report up to an id, or will not have it."""
        before = self._cursors.get(way)
        if before is not None and upto > before:
            self._cursors[way] = upto
            if before < self._stand.last:
                self._due.set()

    # What was said

    async def history(
        self, namespace: str, device: str, name: str = "", since: int = 0, until: int = EVER, limit: int = MOST_READINGS
    ) -> list[Reading]:
        """The newest `limit` readings of a device's property ("": of all) in a time, in milliseconds; oldest first.

        StorageError: the file cannot be read. Times are the readings' own; order is that in which they came.
        """
        limit, wanted = min(limit, MOST_READINGS), (namespace, device, name)
        unsaved = self._tail.reports()
        before = unsaved[0].id if unsaved else self._next
        parts = [chosen(unsaved, since, until, wanted)]
        count = len(parts[0])
        while count < limit:
            block = await self._read.run(partial(self._reader.before, before, since, until, wanted))
            if block is None:
                break
            before = block[0]
            parts.append(block[1])
            count += len(block[1])
        found = [reading for part in reversed(parts) for reading in part]
        return found[max(0, len(found) - limit) :]

    def statistics(self) -> Statistics:
        """What was counted since the start."""
        return Statistics(
            self._reports,
            self._tail.size,
            self._commits,
            bool(self._trouble),
            dict(self._dropped),
            self._thinned_count,
            self._reader.rotten,
        )

    def figures(self) -> Iterator[tuple[str, str, float, Mapping[str, str]]]:
        """(name, help, value, labels) of what `/metrics` shows; names that end in `_total` only grow."""
        counted = self.statistics()
        yield "edged_history_reports_total", "Reports of devices.", counted.reports, {}
        yield "edged_history_commits_total", "Commits of readings to the disk.", counted.commits, {}
        yield "edged_history_unsaved_bytes", "Readings in memory only, about.", counted.unsaved_bytes, {}
        yield "edged_history_refused", "Whether the disk refused the last readings.", counted.refused, {}
        yield "edged_history_thinned_total", "Readings left out as the history was full.", counted.thinned, {}
        yield "edged_history_rotten_total", "Blocks of readings that were damaged.", counted.rotten, {}
        for reason, count in counted.dropped.items():
            yield "edged_history_dropped_total", "Reports lost before every target had them.", count, {"reason": reason}

    # The disk

    async def _until_due(self) -> None:
        while (due := min(self._reports_due, self._cursors_due)) > (now := trio.current_time()):
            if len(self._tail) and self._cursors:  # a way that keeps up now may not keep up with what comes next
                due = min(due, now + UNSENT_S)
            self._due = trio.Event()
            with trio.move_on_at(due):
                await self._due.wait()

    @property
    def _reports_due(self) -> float:
        return self._tail.due(self._cursors)

    @property
    def _cursors_due(self) -> float:
        return self._tail.cursors_due(self._cursors, self._stand.cursors, self._stand.last)

    async def _commit(self, *, everything: bool = False) -> None:
        """Write the cursors, and the reports if they are due."""
        if not self._opened:
            await self._open()
            if not self._opened:
                return
        reports = self._tail.reports() if everything or self._reports_due <= trio.current_time() else []
        cursors = dict(self._cursors)
        reserved = self._reserved if self._reserved - self._next > RESERVED // 2 else self._next + RESERVED
        if not reports and cursors == self._stand.cursors and reserved == self._reserved:
            return
        try:
            dropped = await self._write.run(partial(self._ring.write, Batch(reports, cursors, reserved, self._wall())))
        except StorageError as error:
            self._refused(error)
            return
        if self._trouble:
            self._log.info("the history takes readings again")
        self._trouble = ""
        self._commits += 1
        self._reserved = reserved
        last = reports[-1].id if reports else self._stand.last
        self._stand = Stand(last, reserved, cursors)
        self._tail.saved(last, trio.current_time())
        self._full = dropped > 0 or (self._full and not self._all_had())
        self._lost("full", dropped)

    def _all_had(self) -> bool:
        return min(self._cursors.values(), default=self._stand.last) >= self._stand.last

    def _refused(self, error: StorageError) -> None:
        if self._trouble != str(error):
            self._log.error(f"the history takes no readings: {error}; they are held in memory, tried every {AGAIN_S:g} s")
        self._trouble = str(error)
        self._tail.refused(trio.current_time() + AGAIN_S)

    def _tell_losses(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        if self._not_told and now >= self._told + TOLD_S:
            why = f"the disk takes no writes ({self._trouble})" if self._trouble else "the history is full"
            text = f"{self._not_told} reports of devices were lost before every target of a pushMethod had them: {why}"
            self._log.error(text)
            nursery.start_soon(self._tell, "ReadingsLost", text)
            self._told, self._not_told = now, 0
