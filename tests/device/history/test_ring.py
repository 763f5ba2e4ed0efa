"""The file: limits, damage, power cuts."""

import contextlib
import io
from pathlib import Path
from random import Random

import apsw
import pytest

from edged.device.history.reports import Report
from edged.device.history.ring import Batch, Limits, Reader, Ring, Stand
from edged.device.readings import Reading
from edged.errors import StorageError
from edged.kit.log import Log
from tests.store.disk import Disk
from tests.store.powercut import in_memory, place
from tests.store.recorder import Recorder
from tests.store.tap import Operation, code, refuse, tapped

FILE = "readings.db"
EVERYTHING = ("default", "meter", "")
DAY = 86400


def report(id_: int, value: str = "21.5", time: int = 0) -> Report:
    return Report(id_, "default", "meter", (Reading("power", "float", value, time or id_),))


def batch(first: int, last: int, wall: float = 0.0, value: str = "21.5", **cursors: int) -> Batch:
    return Batch([report(number, value) for number in range(first, last + 1)], cursors, last + 1000, wall)


def ring(path: Path, limit: int = 1 << 20, log: Log | None = None, reports: int = 0) -> Ring:
    return Ring(path, Limits(limit, 7 * DAY, reports), log or Log(stream=io.StringIO()))


def ids(opened: Ring, cursor: int = 0) -> list[int]:
    reader, found = Reader(opened, Log(stream=io.StringIO())), []
    while more := reader.after(cursor):
        found += [each.id for each in more]
        cursor = found[-1]
    reader.close()
    return found


def test_what_is_committed_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    first = ring(tmp_path / FILE)
    assert first.open(0) == Stand()
    assert first.write(batch(1, 3, a=2)) == 0
    first.write(batch(4, 5, b=4))
    first.close()
    again = ring(tmp_path / FILE)
    assert again.open(0) == Stand(5, 1005, {"b": 4}, {"b": 1})
    assert ids(again) == [1, 2, 3, 4, 5]
    assert ids(again, 2) == [3, 4, 5]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again.close()


def test_readings_are_found_by_time_latest_block_first(tmp_path: Path) -> None:
    made = ring(tmp_path / FILE)
    made.open(0)
    for first in range(1, 100, 10):
        made.write(batch(first, first + 9))
    reader = Reader(made, Log(stream=io.StringIO()))
    last, readings = reader.before(10**9, 25, 52, EVERYTHING) or (0, [])
    assert (last, [each.time for each in readings]) == (60, [51, 52])
    last, readings = reader.before(last, 25, 52, EVERYTHING) or (0, [])
    assert (last, len(readings)) == (50, 10)
    assert reader.before(21, 25, 52, EVERYTHING) is None
    assert reader.before(10**9, 25, 52, ("default", "other", "")) == (60, [])
    assert reader.before(10**9, 25, 52, ("default", "meter", "voltage")) == (60, [])
    reader.close()
    made.close()


def test_the_oldest_goes_when_there_are_too_many_bytes_and_is_counted_if_a_way_had_not_had_it(tmp_path: Path) -> None:
    chance = Random(1)
    noise = ["".join(chance.choices("0123456789", k=3000)) for _ in range(40)]
    made, dropped = ring(tmp_path / FILE, 20_000), 0
    made.open(0)
    for number, value in enumerate(noise):
        dropped += made.write(batch(number + 1, number + 1, value=value, a=10))
    left = ids(made)
    assert left == list(range(left[0], 41))
    assert 5 < len(left) < 20
    assert dropped == left[0] - 1 - 10
    assert (tmp_path / FILE).stat().st_size < 80_000
    made.close()


def test_age_ends_what_every_way_has_had_and_nothing_else(tmp_path: Path) -> None:
    made = ring(tmp_path / FILE)
    made.open(0)
    for day in range(1, 31):
        made.write(batch(day, day, wall=day * DAY, a=5))
    assert ids(made) == list(range(6, 31))
    made.write(batch(31, 31, wall=31 * DAY, a=31))
    assert ids(made) == list(range(24, 32))
    made.close()


def test_count_ends_what_every_way_has_had_and_leaves_so_many(tmp_path: Path) -> None:
    kept = ring(tmp_path / FILE, reports=10)
    kept.open(0)
    for first in range(1, 41, 4):  # ten blocks of four
        assert kept.write(batch(first, first + 3, a=0)) == 0
    assert ids(kept) == list(range(1, 41)), "what waits to be sent stays"
    kept.close()
    again = ring(tmp_path / FILE, reports=10)  # it is counted anew
    again.open(0)
    assert again.write(batch(41, 41, a=20)) == 0
    assert ids(again) == list(range(21, 42)), "a way had the first twenty"
    assert again.write(batch(42, 42, a=42)) == 0
    assert ids(again) == list(range(33, 43)), "with the next block there are ten, not without it"
    again.close()


def test_a_disk_that_refuses_is_told_and_the_next_write_is_tried_as_if_nothing_had_been(tmp_path: Path) -> None:
    failing = True

    def tap(operation: Operation) -> int | None:
        return refuse(28, code("write", 28)) if failing and operation.kind == "write" else None

    with tapped(tmp_path, tap):
        failing = False
        made = ring(tmp_path / FILE)
        made.open(0)
        failing = True
        with pytest.raises(StorageError, match="the disk is full"):
            made.write(batch(1, 2))
        failing = False
        made.write(batch(1, 3))
        assert ids(made) == [1, 2, 3]
        made.close()


@pytest.mark.parametrize("spoil", ["header", "pages", "no database", "other tables"])
def test_a_damaged_file_is_set_aside_loudly(tmp_path: Path, spoil: str) -> None:
    said, path = io.StringIO(), tmp_path / FILE
    made = ring(path)
    made.open(0)
    made.write(batch(1, 500))
    made.close()
    if spoil == "other tables":
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.execute("DROP TABLE blocks").fetchall()
    else:
        data = bytearray(path.read_bytes())
        at, length = {"header": (0, 100), "pages": (4096, len(data)), "no database": (0, len(data))}[spoil]
        data[at : at + length] = bytes([7]) * (min(len(data), at + length) - at)
        path.write_bytes(data)
    again = ring(path, log=Log(stream=said))
    assert again.open(1e9) == Stand()
    again.write(batch(501, 502))
    assert ids(again) == [501, 502]
    assert "is damaged" in said.getvalue()
    assert [each.name for each in tmp_path.glob("*damaged*")] == ["readings.db.damaged-20010909T014640Z"]
    again.close()


def test_a_rotten_block_is_passed_over(tmp_path: Path) -> None:
    made = ring(tmp_path / FILE)
    made.open(0)
    for first in (1, 11, 21):
        made.write(batch(first, first + 9))
    made.close()
    with contextlib.closing(apsw.Connection(str(tmp_path / FILE))) as connection:
        connection.execute("UPDATE blocks SET data = zeroblob(50) WHERE first = 11").fetchall()
    again = ring(tmp_path / FILE)
    again.open(0)
    assert ids(again) == [*range(1, 11), *range(21, 31)]
    again.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_loses_nothing_that_was_committed(seed: int) -> None:
    """Cut at any write: all reports that a commit returned for are there, whole and in order; cursors and ids never go back."""
    chance = Random(seed)
    with in_memory() as directory:
        live = directory / "live"
        live.mkdir()
        recorder, marks = Recorder(live), []
        with tapped(live, recorder):
            last = 0
            for _ in range(3):
                made = ring(live / FILE)
                made.open(0)
                for _ in range(12):
                    count = chance.randint(1, 60)
                    made.write(batch(last + 1, last + count, a=last))
                    last += count
                    marks.append((len(recorder.operations), last, last - count))
                made.close()
        disk, done = Disk(recorder.files, Random(seed)), 0
        for moment in sorted(chance.randrange(len(recorder.operations)) for _ in range(120)):
            for operation in recorder.operations[done:moment]:
                disk.apply(operation)
            done = moment
            place(directory / "cut", disk.cut(Random(moment)))
            acknowledged = max((mark[1:] for mark in marks if mark[0] <= moment), default=(0, 0))
            again = ring(directory / "cut" / FILE)
            stand = again.open(0)
            assert stand.last >= acknowledged[0]
            assert stand.cursors.get("a", 0) >= acknowledged[1]
            assert ids(again) == list(range(1, stand.last + 1))
            assert again.damaged == 0
            again.write(batch(stand.last + 1, stand.last + 2))
            again.close()
