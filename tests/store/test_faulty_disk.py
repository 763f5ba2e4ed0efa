"""A disk that is full, broken or read-only at any one operation, or from any one on.

Nothing acknowledged is lost and nothing is half there. The store says StorageError and nothing else, goes on reading, and
takes the first write after the fault is gone. A file that cannot be read when it is opened may be set aside: then what
could be read of it is there.
"""

import errno
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
import trio

from edged.errors import StorageError
from edged.model.objects import Key
from edged.store.store import Store
from edged.store.writes import Create, Put, Write
from tests.store.powercut import FILE, in_memory, opened, place, steadily
from tests.store.tap import Operation, Refusal, code, refuse, tapped

SESSIONS, COMMITS = 2, 5  # of two transactions of two objects each
TASKS = 3
SIZES = (1, 300, 5000)  # bytes after the number of a write
REFUSES = {
    errno.ENOSPC: {"write", "sync"},
    errno.EIO: {"open", "read", "write", "sync", "truncate", "size", "delete"},
    errno.EROFS: {"write", "truncate", "delete"},
}


class Fault:
    """A tap that refuses operation number `at` of those that `error` may befall; or, if it `lasts`, all from there on."""

    def __init__(self, error: int, *, lasts: bool) -> None:
        self._error, self._lasts = error, lasts
        self.begin(None)

    def begin(self, at: int | None) -> None:
        self._at, self.seen = at, 0
        self.refused: set[str] = set()
        self.kinds = REFUSES[self._error]

    def heal(self) -> None:
        self._at = None

    def end(self) -> None:
        self.heal()
        self.kinds = set()

    def __call__(self, operation: Operation) -> Refusal:
        if operation.kind not in self.kinds:
            return None
        self.seen += 1
        if self._at is None or not (self.seen == self._at or (self._lasts and self.seen > self._at)):
            return None
        self.refused.add(operation.kind)
        return refuse(self._error, code(operation.kind, self._error))


class Pairs:
    """Pairs of objects, each pair changed in one transaction, and what is known of them."""

    def __init__(self) -> None:
        self.acknowledged = dict.fromkeys(range(TASKS), 0)
        self.doubtful: dict[int, set[int]] = {task: set() for task in range(TASKS)}
        self._last = 0

    async def write(self, store: Store, task: int) -> None:
        """One transaction. StorageError: it is in doubt whether it will be there after the next opening."""
        self._last += 1
        number = self._last
        body = str(number).encode() + b"." * SIZES[number % len(SIZES)]
        try:
            await store.write(*(self._change(task, key, body) for key in halves(task)))
        except StorageError:
            self.doubtful[task].add(number)
            raise
        self.acknowledged[task] = number
        self.doubtful[task].clear()

    def _change(self, task: int, key: Key, body: bytes) -> Write:
        return Put(key, body) if self.acknowledged[task] else Create(key, "u", body)

    def compare(self, store: Store) -> None:
        """What is read now is what was acknowledged."""
        for task, number in self.acknowledged.items():
            for key in halves(task):
                assert read(store, key) == number

    def reopened(self, store: Store) -> None:
        """What is read is what was acknowledged, or a later write that was refused and is there as a whole."""
        for task in range(TASKS):
            left, right = (read(store, key) for key in halves(task))
            assert left == right
            assert left in {self.acknowledged[task], *self.doubtful[task]}
            self.acknowledged[task] = left
            self.doubtful[task].clear()


def halves(task: int) -> tuple[Key, Key]:
    return Key("widgets", "default", f"{task}-left"), Key("widgets", "default", f"{task}-right")


def read(store: Store, key: Key) -> int:
    there = store.get(key)
    return 0 if there is None else int(there.body.rstrip(b"."))


async def work(path: Path, fault: Fault) -> None:
    """Two sessions of a store, the fault somewhere in them."""
    pairs = Pairs()
    for _ in range(SESSIONS):
        try:
            async with opened(path) as store:
                await session(store, fault, pairs)
        except StorageError:  # it did not open
            assert fault.refused
            fault.heal()
    fault.end()
    async with opened(path) as store:
        pairs.reopened(store)
        connection = apsw.Connection(str(path))
        assert connection.pragma("integrity_check") == "ok"
        connection.close()
    if not fault.refused & {"read", "size"}:
        assert {at.name for at in path.parent.iterdir()} <= {FILE, f"{FILE}-wal", f"{FILE}-shm"}


async def attempt(pairs: Pairs, store: Store, task: int) -> None:
    with suppress(StorageError):
        await pairs.write(store, task)


async def session(store: Store, fault: Fault, pairs: Pairs) -> None:
    if not fault.refused:
        with suppress(StorageError):
            pairs.reopened(store)
    for number in range(COMMITS):
        async with trio.open_nursery() as nursery:
            for task in (number % TASKS, (number + 1) % TASKS):
                nursery.start_soon(attempt, pairs, store, task)
        with suppress(StorageError):
            pairs.compare(store)
    if fault.refused:
        fault.heal()
        for task in range(TASKS):
            await pairs.write(store, task)
        pairs.compare(store)


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from there on"])
@pytest.mark.parametrize("error", REFUSES, ids=errno.errorcode.get)
def test_a_fault_at_every_operation(error: int, lasts: bool) -> None:
    with in_memory() as directory:
        fault = Fault(error, lasts=lasts)
        with tapped(directory, fault):
            steadily("faults", work, directory / FILE, fault)
            most = fault.seen
            for at in range(1, most + 1):
                place(directory, {})
                fault.begin(at)
                try:
                    steadily("faults", work, directory / FILE, fault)
                except BaseException as failure:
                    failure.add_note(f"the fault was at operation {at} of {most}")
                    raise
                assert fault.refused
