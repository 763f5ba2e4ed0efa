from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from edged.runtime.driver import LogOptions
from edged.runtime.logfile import Entry, Reader, parse, read_log
from edged.runtime.shim import stamp


def line(second: int, text: str, *, full: bool = True) -> str:
    return f"{stamp(second * 10**9)} stdout {'F' if full else 'P'} {text}\n"


async def text(directory: Path, **options: object) -> str:
    chunks = read_log(directory, LogOptions(**options), lambda: False)  # type: ignore[arg-type]
    async with aclosing(chunks):
        return b"".join([chunk async for chunk in chunks]).decode()


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three files, the oldest with the highest number."""
    (tmp_path / "log.2").write_text(line(1, "a") + line(2, "b"))
    (tmp_path / "log.1").write_text(line(3, "c") + line(4, "d1 ", full=False))
    (tmp_path / "log").write_text(line(5, "d2") + line(6, "") + line(7, "e", full=False))
    return tmp_path


def test_an_entry() -> None:
    assert parse(b"2026-01-01T00:00:00.000000000Z stderr F two  words\n") == Entry(
        b"2026-01-01T00:00:00.000000000Z", True, b"two  words"
    )
    assert parse(b"t stdout P \n") == Entry(b"t", False, b"")
    assert parse(b"half a li\n") is None


@given(st.binary(max_size=100))
def test_any_bytes_parse_or_not(data: bytes) -> None:
    entry = parse(data)
    assert entry is None or entry.text in data


async def test_all_files_in_order(three: Path) -> None:
    assert await text(three) == "a\nb\nc\nd1 d2\n\ne"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(0, ""), (1, "e"), (2, "\ne"), (3, "d1 d2\n\ne"), (4, "c\nd1 d2\n\ne"), (99, "a\nb\nc\nd1 d2\n\ne")],
)
async def test_the_tail(three: Path, tail: int, expected: str) -> None:
    assert await text(three, tail=tail) == expected


async def test_since(three: Path) -> None:
    assert await text(three, since=5.0) == "d2\n\ne"
    assert await text(three, since=3.0, tail=3) == "d1 d2\n\ne"
    assert await text(three, since=8.0) == ""


async def test_a_line_of_parts_has_one_time(three: Path) -> None:
    assert (await text(three, tail=3, timestamps=True)).splitlines() == [
        f"{stamp(4 * 10**9)} d1 d2",
        f"{stamp(6 * 10**9)} ",
        f"{stamp(7 * 10**9)} e",
    ]


async def test_torn_pieces_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(line(1, "a") + "2026-01-01T0\n" + line(2, "b") + "2026-01-01T00:00:00Z stdout F hal")
    assert await text(tmp_path) == "a\nb\n"


async def test_there_is_no_log_yet(tmp_path: Path) -> None:
    assert await text(tmp_path) == ""


def test_rotation_while_reading(tmp_path: Path) -> None:
    log, older = tmp_path / "log", tmp_path / "log.1"
    log.write_text(line(1, "a") + line(2, "b"))
    reader = Reader(tmp_path, 0)
    taken = [reader.next()]
    with log.open("a") as file:
        file.write(line(3, "c"))
    log.rename(older)
    log.write_text(line(4, "d"))
    older.rename(tmp_path / "log.2")
    log.rename(older)
    log.write_text(line(5, "e"))
    while (entry := reader.next()) is not None:
        taken.append(entry)
    with log.open("a") as file:
        file.write(line(6, "f"))
    taken.append(reader.next())
    reader.close()
    assert [entry and entry.text for entry in taken] == [b"a", b"b", b"c", b"d", b"e", b"f"]


class Rotated(Reader):
    """Its files are rotated twice while it looks for the newer ones, after it has found the first."""

    seconds: tuple[int, ...] = (8, 9)

    def _paths(self) -> Iterator[Path]:
        paths = list(super()._paths())
        yield paths[0]
        for second in self.seconds:
            rotate(self._directory)
            (self._directory / "log").write_text(line(second, str(second)))
        self.seconds = ()
        yield from paths[1:]


def rotate(directory: Path) -> None:
    for number in (2, 1):
        if (directory / f"log.{number}").exists():
            (directory / f"log.{number}").rename(directory / f"log.{number + 1}")
    (directory / "log").rename(directory / "log.1")


def test_two_rotations_while_it_looks_for_files(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text(line(1, "1"))
    (tmp_path / "log").write_text(line(2, "2"))
    reader = Rotated(tmp_path, 0)
    found = []
    while (entry := reader.next()) is not None:
        found.append(entry.text)
    reader.close()
    assert found == [b"1", b"2", b"8", b"9"]


async def test_following_waits_for_more_and_ends_with_the_container(tmp_path: Path) -> None:
    runs = True
    (tmp_path / "log").write_text(line(1, "a"))
    got = b""
    with trio.fail_after(60):
        async with aclosing(read_log(tmp_path, LogOptions(follow=True), lambda: runs)) as chunks:
            async for chunk in chunks:
                got += chunk
                if got == b"a\n":
                    with (tmp_path / "log").open("a") as file:
                        file.write(line(2, "b"))
                    runs = False
    assert got == b"a\nb\n"
