import io
from pathlib import Path

import pytest
from trio.testing import MockClock

from edged.hub.book import DAY_S, MAX_BOOK, Book
from edged.hub.candidates import candidates
from edged.hub.memory import FILE, WRITE_S, Memory
from edged.kit.address import Address
from edged.kit.log import Log

ONE, TWO = Address("192.168.1.2", 7400), Address("192.168.1.3", 7400)


def opened(directory: Path | None, said: io.StringIO | None = None) -> tuple[Memory, Book]:
    book = Book("acme/site", lambda texts: candidates(texts, ipv6=False, loopback=False))
    memory = Memory(directory, book, Log(stream=said or io.StringIO()))
    memory.recall()
    return memory, book


async def test_what_is_new_is_written_seldom(tmp_path: Path, mock_clock: MockClock) -> None:
    memory, book = opened(tmp_path)
    await memory.keep()
    assert not (tmp_path / FILE).exists()
    book.proved("gw-b", ONE, DAY_S)
    await memory.keep()
    written = (tmp_path / FILE).read_bytes()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    book.proved("gw-b", TWO, DAY_S)
    mock_clock.jump(WRITE_S - 1)
    await memory.keep()
    assert (tmp_path / FILE).read_bytes() == written
    mock_clock.jump(1)
    await memory.keep()
    assert opened(tmp_path)[1].addresses("gw-b") == [TWO, ONE]
    (tmp_path / FILE).unlink()
    mock_clock.jump(WRITE_S)
    await memory.keep()
    memory.save()
    assert not (tmp_path / FILE).exists()  # nothing was new


def test_a_stop_writes_what_is_new(tmp_path: Path) -> None:
    memory, book = opened(tmp_path)
    book.proved("gw-b", ONE, DAY_S)
    memory.save()
    assert opened(tmp_path)[1].addresses("gw-b") == [ONE]


@pytest.mark.parametrize("text", [b"", b"{", bytes(MAX_BOOK + 5)], ids=["empty", "cut", "huge"])
def test_a_damaged_file_is_said_and_replaced(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    said = io.StringIO()
    memory, book = opened(tmp_path, said)
    assert "going on without the last known addresses" in said.getvalue()
    book.proved("gw-b", ONE, DAY_S)
    memory.save()
    assert opened(tmp_path)[1].names() == ["gw-b"]


async def test_a_disk_that_takes_nothing_harms_nothing(tmp_path: Path) -> None:
    said = io.StringIO()
    memory, book = opened(tmp_path / "gone", said)
    book.proved("gw-b", ONE, DAY_S)
    await memory.keep()
    assert "No such file" in said.getvalue()


async def test_without_a_directory_nothing_is_kept() -> None:
    memory, book = opened(None)
    book.proved("gw-b", ONE, DAY_S)
    await memory.keep()
    memory.save()
    assert book.news
