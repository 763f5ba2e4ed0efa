"""A store on a real file system that is full, too small for a file, or read-only."""

import io
import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import trio

from edged.errors import StorageError
from edged.kit.executor import Worker
from edged.kit.log import Log
from edged.model.objects import Key
from edged.store.store import Store, open_store
from edged.store.writes import Create, Put, PutStatus

POD = Key("widgets", "default", "web-0")
SIZE = "2m"  # of the file system: room for the store, and little more


@asynccontextmanager
async def opened(path: Path, said: io.StringIO) -> AsyncIterator[Store]:
    clock = count(1)
    log = Log(stream=said)
    async with open_store(path, origin="gw-a", stamp=lambda: next(clock), executor=Worker(), log=log) as store:
        yield store


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "edged-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(directory: Path) -> Path:
    """Take all the space there is."""
    ballast = directory / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return ballast


@pytest.mark.root
async def test_a_full_disk_refuses_writes_and_takes_them_again_when_there_is_space(small: Path) -> None:
    said = io.StringIO()
    async with opened(small / "store.db", said) as store:
        await store.write(Create(POD, "u", b'{"first":true}'))
        for round_ in range(3):
            ballast = fill(small)
            refused = 0
            for number in range(50):
                try:
                    await store.write(Put(POD, b'{"n":"%d-%d","pad":"%s"}' % (round_, number, b"x" * 20_000)))
                except StorageError as error:
                    assert "the store takes no writes: the disk is full" in str(error)
                    refused += 1
            assert refused > 0  # until the log's file, which has some room, is full
            assert store.trouble
            kept = store.get(POD)
            assert kept is not None
            with pytest.raises(StorageError):
                await store.write(Create(POD._replace(name=f"big-{round_}"), "u", b"x" * 500_000))
            assert store.get(POD) == kept
            assert store.get(POD._replace(name=f"big-{round_}")) is None
            reading = b'{"reading":%d}' % round_
            [seen] = await store.write(PutStatus(POD, reading, volatile=True))  # what needs no disk goes on
            assert (seen.status, store.get(POD)) == (reading, seen)
            assert store.trouble
            ballast.unlink()
            [after] = await store.write(Put(POD, b'{"after":%d}' % round_))
            assert (store.get(POD), store.trouble) == (after, "")
        before = store.get(POD)
    assert said.getvalue().count("takes no writes") == said.getvalue().count("takes writes again") >= 3
    async with opened(small / "store.db", said) as store:
        there = store.get(POD)
        assert there is not None
        assert before is not None
        assert there.body == before.body


@pytest.mark.root
async def test_many_writers_on_a_full_disk_are_all_told(small: Path) -> None:
    async with opened(small / "store.db", io.StringIO()) as store:
        await store.write(Create(POD, "u", b"{}"))
        ballast = fill(small)
        told: list[str] = []

        async def write(number: int) -> None:
            try:
                await store.write(Create(POD._replace(name=f"web-{number}"), "u", b"x" * 100_000))
            except StorageError as error:
                told.append(str(error))

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(1, 101):
                    nursery.start_soon(write, number)
        assert len(told) == 100
        ballast.unlink()
        await write(101)
        assert len(store.list("widgets")) == 2


@pytest.mark.root
async def test_a_read_only_file_system_is_said_so(small: Path) -> None:
    async with opened(small / "store.db", io.StringIO()) as store:
        await store.write(Create(POD, "u", b"{}"))
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(StorageError, match="Read-only file system"):
        async with opened(small / "store.db", io.StringIO()):
            pass
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    async with opened(small / "store.db", io.StringIO()) as store:
        assert store.get(POD) is not None
    assert [each.name for each in small.iterdir()] == ["store.db"]  # noqa: ASYNC240  nobody took it for damage


async def test_an_io_error_refuses_writes_and_the_next_ones_succeed(tmp_path: Path) -> None:
    """A file that may not grow: write(2) fails with EFBIG, which SQLite calls an I/O error."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened(tmp_path / "store.db", io.StringIO()) as store:
        await store.write(Create(POD, "u", b"{}"))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))
            for _ in range(3):
                with pytest.raises(StorageError, match="takes no writes: I/O error"):
                    await store.write(Put(POD, b'"%s"' % (b"x" * 300_000)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        kept = store.get(POD)
        assert kept is not None
        assert kept.body == b"{}"
        await store.write(Put(POD, b'"%s"' % (b"x" * 300_000)))
    async with opened(tmp_path / "store.db", io.StringIO()) as store:
        there = store.get(POD)
        assert there is not None
        assert len(there.body) == 300_002


@pytest.mark.root
async def test_a_start_on_a_full_disk_is_refused_in_words_and_harms_nothing(small: Path) -> None:
    said = io.StringIO()
    async with opened(small / "store.db", said) as store:
        await store.write(Create(POD, "u", b"{}"))
    ballast = fill(small)
    with pytest.raises(StorageError, match=r"store\.db: (the disk is full|I/O error|the file cannot be opened)"):
        async with opened(small / "store.db", said):
            pass
    ballast.unlink()
    async with opened(small / "store.db", said) as store:
        assert store.get(POD) is not None
    assert said.getvalue() == ""
