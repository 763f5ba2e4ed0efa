import io
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from edged.errors import StorageError
from edged.kit.log import Log
from edged.store.disk import Disk
from edged.store.opening import SUSPECT, open_connections


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def disk(tmp_path: Path, said: io.StringIO) -> Disk:
    path, log = tmp_path / "store.db", Log(stream=said)
    return Disk(*open_connections(path, lambda *_: "", 0.0, log), path, log)


def insert(writer: apsw.Connection) -> None:
    writer.execute("INSERT INTO held VALUES (hex(randomblob(4)), 1, 0)").fetchall()


def big(writer: apsw.Connection) -> None:
    insert(writer)
    writer.execute("INSERT INTO certificates VALUES (x'00', zeroblob(1000000))").fetchall()


def count(disk: Disk) -> object:
    return disk.reader.execute("SELECT count(*) FROM held").fetchall()[0][0]


def test_a_refused_write_leaves_nothing_and_the_next_one_succeeds(disk: Disk, said: io.StringIO) -> None:
    with closing(disk):
        assert disk.commit(insert) is None
        disk.writer.pragma("max_page_count", disk.writer.pragma("page_count"))
        for _ in range(2):
            refusal = disk.commit(big)
            assert str(refusal) == "the store takes no writes: the disk is full (database or disk is full)"
            assert count(disk) == 1
            disk.writer.close()  # whatever became of it
            disk.writer = apsw.Connection(str(disk._path))
            disk.writer.pragma("max_page_count", disk.writer.pragma("page_count"))
            disk._stale = False
        assert disk.trouble == "the disk is full (database or disk is full)"
        disk._stale = True
        assert disk.commit(big) is None
        assert (count(disk), disk.trouble, disk.damage) == (2, "", None)
    assert said.getvalue().count("takes no writes") == 1
    assert said.getvalue().count("takes writes again") == 1


def test_a_bug_in_the_work_goes_up_and_leaves_nothing(disk: Disk) -> None:
    def work(writer: apsw.Connection) -> None:
        insert(writer)
        raise KeyError

    with closing(disk):
        with pytest.raises(KeyError):
            disk.commit(work)
        assert disk.commit(insert) is None
        assert count(disk) == 1


def test_damage_is_noted_for_the_next_start(disk: Disk) -> None:
    def work(writer: apsw.Connection) -> None:
        raise apsw.CorruptError("database disk image is malformed")

    with closing(disk):
        assert "the file is damaged" in str(disk.commit(work))
        assert disk.damage is not None
        with pytest.raises(StorageError, match="at the next start it is set aside and begun again"):
            disk.give_up()
    assert disk._path is not None
    assert disk._path.with_name(disk._path.name + SUSPECT).exists()


def test_a_read_that_fails(disk: Disk) -> None:
    with closing(disk):
        assert str(disk.unread(apsw.IOError("disk I/O error"))) == "the store cannot be read: I/O error (disk I/O error)"
        assert disk.damage is None
        disk.unread(apsw.NotADBError("x"))
        assert disk.damage is not None
