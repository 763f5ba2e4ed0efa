"""Power cuts: a store at work is recorded once, its disk is cut at thousands of moments, and each is opened again.

What must hold: the file opens, is sound, and has exactly the content of one moment: all that was committed by then, and of
the transaction under way, which nobody was told of, all or nothing.
"""

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar, cast

import apsw
import trio

from edged.errors import AlreadyExistsError, NotFoundError, StorageError
from edged.kit.executor import Inline
from edged.model.objects import Key
from edged.store.store import Store, open_store
from edged.store.writes import Create, Delete, Put, PutStatus, Write
from edged.wire.sync import BODY, Delta, Register
from tests.store.disk import Disk, Sync
from tests.store.recorder import Recorder
from tests.store.tap import tapped

T = TypeVar("T")
NODE, FOREIGN = "gw-a", "site-1/gw-b:1"
FILE = "store.db"
SESSIONS = 3  # openings of the store in one recording; all but the last end as they should
WAVES, WRITERS = 4, 8  # of writes in a session; that write at once, and so share commits
SIZES = (2, 40, 300, 3000, 9000)  # bytes of a value: within a page, and over several
CHANGING = "self"  # the table that each opening may change
RECORDINGS = 4  # in a chain
WRITES_AFTER = 0.1  # of the cuts, after which it must take a write


class State(NamedTuple):
    """What the file may hold from this operation on: a commit has returned.

    More than one digest when the commit was refused because a sync failed: whole in the log, it may yet be found there
    when the power goes before something else is written over it.
    """

    digests: tuple[str, ...]


class Found(NamedTuple):
    """A cut whose outcome is wrong."""

    seed: str
    problem: str


class Recording(NamedTuple):
    """What was done to a disk, with a State after each commit."""

    files: dict[str, bytes]
    operations: list[Any]
    beside: dict[str, bytes]  # files that SQLite knows nothing of


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory whose syncs cost nothing, where the machine has one."""
    shm = Path("/dev/shm")
    directory = tempfile.mkdtemp(dir=shm if shm.is_dir() else None)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory)


def steadily(seed: int | str, function: Callable[..., Any], *args: Any) -> Any:
    """`trio.run`, with tasks that take turns in the same order whenever the seed is the same."""
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio._core._run._r.seed(str(seed))
    try:
        return trio.run(function, *args)
    finally:
        trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = False


@asynccontextmanager
async def opened(path: Path, executor: Inline | None = None) -> AsyncIterator[Store]:
    """The store of a test, its clock going on where the file's ends."""
    clock = count(1)
    async with open_store(path, origin=NODE, stamp=lambda: next(clock), executor=executor or Inline()) as store:
        clock = count(store.latest_clock + 1)
        yield store


def content(path: Path) -> str:
    """A digest of all that is in the file."""
    connection = apsw.Connection(str(path))
    try:
        digest = hashlib.blake2b(digest_size=16)
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
            if table != CHANGING:
                rows = sorted(map(repr, connection.execute(f"SELECT * FROM {table}")))  # noqa: S608
                digest.update("\n".join([table, *rows]).encode())
        return digest.hexdigest()
    finally:
        connection.close()


def bodies(path: Path) -> dict[str, bytes | None]:
    """The bodies in the file: {name: value}, None for a tombstone."""
    connection = apsw.Connection(str(path))
    try:
        return dict(connection.execute("SELECT name, value FROM registers WHERE part = ?", (BODY,)).fetchall())
    finally:
        connection.close()


class Witness(Inline):
    """Runs inline, and writes down the content of the file whenever something has run."""

    def __init__(self, path: Path, recorder: Recorder) -> None:
        self._path, self._recorder = path, recorder
        self.fails = bool(recorder.fails)
        self._digest = ""
        self._refused: list[str] = []
        self.bodies: dict[str, bytes | None] = {}

    async def run(self, function: Callable[[], T]) -> T:
        mark = len(self._recorder.operations)
        try:
            return await super().run(function)
        finally:
            before = self._digest
            self._digest, self.bodies = content(self._path), bodies(self._path)
            if any(isinstance(operation, Sync) and operation.failed for operation in self._recorder.operations[mark:]):
                self._refused.append(_content_after_crash(self._path))
            elif self._digest != before:
                self._refused.clear()
            self._recorder.operations.append(State((self._digest, *self._refused)))


def _content_after_crash(path: Path) -> str:
    """The digest of what would be found if the process ended now, and the power stayed."""
    with in_memory() as directory:
        for name in (path.name, f"{path.name}-wal"):
            if (path.parent / name).exists():
                shutil.copy(path.parent / name, directory)
        return content(directory / path.name)


def record(directory: Path, seed: str, recorder: Recorder) -> Recording:
    """Let a store work in `directory`, on what is there, and write it down."""
    path = directory / FILE
    with tapped(directory, recorder):
        steadily(seed, _sessions, path, Random(seed), recorder)
    beside = {at.name: at.read_bytes() for at in directory.iterdir() if not at.name.startswith(FILE)}
    return Recording(recorder.files, recorder.operations, beside)


async def _sessions(path: Path, random: Random, recorder: Recorder) -> None:
    for _ in range(SESSIONS):
        try:
            await _session(path, random, Witness(path, recorder))
        except StorageError:  # a disk that fails; the next opening may succeed
            if not recorder.fails:
                raise


async def _session(path: Path, random: Random, witness: Witness) -> None:
    async with opened(path, witness) as store:
        for _ in range(WAVES):
            async with trio.open_nursery() as nursery:
                for task in range(random.randint(1, WRITERS)):
                    nursery.start_soon(_write, store, task, Random(random.random()), witness)


async def _write(store: Store, task: int, random: Random, witness: Witness) -> None:
    """Some writes of one who asks; when they are acknowledged they must be what the file holds."""
    keys = [Key("widgets", "default", f"pod-{task}-{number}") for number in range(3)]
    for _ in range(random.randint(1, 3)):
        chosen = random.sample(keys, random.randint(1, 3))
        writes = [_choose(store, key, random) for key in chosen]
        try:
            match random.randrange(8):
                case 0:
                    await _merge(store, task, random)
                case 1:
                    await store.write(*writes, Put(Key("widgets", "default", "nobody"), b"{}"))
                case _:
                    await store.write(*writes)
        except NotFoundError:
            continue
        except StorageError:
            if not witness.fails:
                raise
            continue
        except AlreadyExistsError as error:
            raise AssertionError(f"{task} alone writes these: {error}") from error
        for key in chosen:
            there = store.get(key)
            assert witness.bodies.get(key.name) == (there and there.body)


def _choose(store: Store, key: Key, random: Random) -> Write:
    value = random.randbytes(8).hex().encode() + b"." * random.choice(SIZES)
    there = store.get(key)
    if there is None:
        return Create(key, value[:8].decode(), value, value if random.random() < 0.3 else None)
    return random.choice([Put(key, value), PutStatus(key, value, uid=there.uid), Delete(key)])


async def _merge(store: Store, task: int, random: Random) -> None:
    """A delta of two registers that nobody beside this task sends; ConflictError is no business of this test."""
    origin = f"{FOREIGN}{task}"
    held = store.held().get(origin, 0)
    registers = [
        Register(
            "widgets", "default", f"foreign-{task}-{number}", BODY, "u", origin, held + number, store.latest_clock + held, value
        )
        for number, value in ((1, random.randbytes(random.choice(SIZES))), (2, None))
    ]
    await store.merge(Delta(origin, held, held + 2, registers))


def cuts(recording: Recording, seed: str, number: int, directory: Path) -> list[Found]:
    """Cut the recorded disk `number` times, at moments chosen by `seed`; what is wrong afterwards."""
    return cast("list[Found]", steadily(seed, _cuts, recording, seed, number, directory))


async def _cuts(recording: Recording, seed: str, number: int, directory: Path) -> list[Found]:
    random = Random(seed)
    moments = sorted(random.randrange(len(recording.operations)) for _ in range(number))
    wrong = []
    for name, files, allowed in _found(recording, seed, moments):
        problem = await reopened(directory, files, allowed, Random(name))
        if problem is not None:
            wrong.append(Found(name, problem))
    return wrong


def _found(recording: Recording, seed: str, moments: list[int]) -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """(name of the cut, files found, digests of the contents that are right) for each moment, in order."""
    disk = Disk(recording.files, Random(f"{seed} failures"))
    states = [(at, mark.digests) for at, mark in enumerate(recording.operations) if isinstance(mark, State)]
    done = 0
    for number, moment in enumerate(moments):
        for operation in recording.operations[done : moment + 1]:
            if not isinstance(operation, State):
                disk.apply(operation)
        done = moment + 1
        name = f"{seed}, cut {number} at {moment}"
        last = [digests for at, digests in states if at <= moment][-1:]
        following = [digests for at, digests in states if at > moment][:1]
        yield name, disk.cut(Random(name)) | recording.beside, [digest for digests in last + following for digest in digests]


def place(directory: Path, files: dict[str, bytes]) -> None:
    """Make `directory` hold these files and no others."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)


async def reopened(directory: Path, files: dict[str, bytes], allowed: list[str], random: Random) -> str | None:
    """What is wrong with a store that begins with these files; None when nothing is."""
    place(directory, files)
    try:
        async with opened(directory / FILE) as store:
            problem = _compared(directory / FILE, allowed)
            if problem is None and random.random() < WRITES_AFTER:
                await store.write(Create(Key("widgets", "default", "after"), "u", b"{}"))
    except (StorageError, apsw.Error, BaseExceptionGroup) as error:
        return f"it does not work: {error!r}"
    return problem or _aside(directory, files)


def _compared(path: Path, allowed: list[str]) -> str | None:
    if content(path) not in allowed:
        return "its content is not that of before, nor of after, the transaction under way"
    connection = apsw.Connection(str(path))
    sound = connection.pragma("integrity_check")
    connection.close()
    return None if sound == "ok" else f"it is not sound: {sound}"


def _aside(directory: Path, files: dict[str, bytes]) -> str | None:
    aside = {at.name for at in directory.iterdir()} - set(files) - {FILE, f"{FILE}-wal", f"{FILE}-shm"}
    return f"beside it now are {aside}" if aside else None


def failures(random: Random) -> dict[str, list[int]]:
    """What fails in a recording: it has some 100 syncs and 1,000 writes."""
    return {"sync": random.sample(range(1, 200), 6), "write": random.sample(range(1, 2000), 6)}


def chain(seed: str, number: int) -> tuple[int, list[Found]]:
    """Cut `number` times, in RECORDINGS recordings of which each goes on with what a cut of the one before left.

    So it is also cut while it recovers. In every other recording some syncs and writes fail. Returns how many cuts, and what
    was wrong.
    """
    files: dict[str, bytes] = {}
    wrong: list[Found] = []
    share = number // RECORDINGS
    for step in range(RECORDINGS):
        name = f"seed {seed}, recording {step}"
        with in_memory() as directory:
            place(directory / "live", files)
            recorder = Recorder(directory / "live", failures(Random(name)) if step % 2 else None)
            recording = record(directory / "live", name, recorder)
            wrong += cuts(recording, name, share, directory / "cut")
        files = cut(recording, name)
    return RECORDINGS * share, wrong


def cut(recording: Recording, seed: str) -> dict[str, bytes]:
    """What one cut leaves, at a moment chosen by `seed`."""
    random = Random(f"{seed} goes on")
    [(_, files, _)] = _found(recording, f"{seed} goes on", [random.randrange(len(recording.operations))])
    return files
