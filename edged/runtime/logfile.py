"""Reading the log files that a shim writes: from the tail or since a time, across rotations, and on while lines come."""

import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import trio

from edged.runtime.driver import LogOptions
from edged.runtime.shim import stamp

CHUNK_BYTES = 64 << 10  # handed on at once: one thread hop for many lines
TRIES = 10  # to find the files as they are between two rotations
FOLLOW_POLL_S = 0.2  # how late a followed line may be; a poll, because inotify is not in the standard library


class Entry(NamedTuple):
    """One line of a log file: its time, whether it ends a line of the container, the text."""

    time: bytes
    full: bool
    text: bytes


def parse(line: bytes) -> Entry | None:
    """An entry out of a line of a log file; None for the pieces that a full disk left behind."""
    parts = line.removesuffix(b"\n").split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    return Entry(parts[0], parts[2] == b"F", parts[3])


class Reader:
    """The entries of a directory's log files from the oldest on, once: call `next` again when more was written.

    Files that are rotated while they are read are read to their end. Close it.
    """

    def __init__(self, directory: Path, since: float) -> None:
        self._directory = directory
        self._since = stamp(int(since * 1e9)).encode()
        self._files: deque[BinaryIO] = deque()
        self._newest: int | None = None

    def next(self) -> Entry | None:
        """The next entry, or None until more was written."""
        while (line := self._line()) is not None:
            entry = parse(line)
            if entry is not None and entry.time >= self._since:
                return entry
        return None

    def close(self) -> None:
        """Close the files."""
        while self._files:
            self._files.pop().close()

    def _line(self) -> bytes | None:
        while True:
            if self._files:
                file = self._files[0]
                line = file.readline()
                if line.endswith(b"\n"):
                    return line
                file.seek(-len(line), os.SEEK_CUR)  # the rest of it is being written
                if len(self._files) > 1:
                    self._files.popleft().close()
                    continue
            if not self._newer():
                return None

    def _newer(self) -> bool:
        """Open the files after the newest known one. Not while they are rotated: one would be taken for an older one."""
        for _ in range(TRIES):
            found, whole = self._opened()
            if not found:
                return False
            newest = next(iter(found))
            if whole and newest == self._inode():
                self._newest = newest
                self._files.extend(reversed(found.values()))
                return True
            for file in found.values():
                file.close()
        return False  # at this pace by the next look, as nothing is passed over

    def _opened(self) -> tuple[dict[int, BinaryIO], bool]:
        """The files after the newest known one, by inode, from the newest back, and whether none was missing between them."""
        found: dict[int, BinaryIO] = {}
        for path in self._paths():
            try:
                file = path.open("rb")
            except FileNotFoundError:
                return found, False
            inode = os.fstat(file.fileno()).st_ino
            if inode == self._newest or inode in found:
                file.close()
                if inode == self._newest:
                    break
            else:
                found[inode] = file
        return found, True

    def _inode(self) -> int | None:
        try:
            return (self._directory / "log").stat().st_ino
        except FileNotFoundError:  # in the midst of a rotation
            return None

    def _paths(self) -> Iterable[Path]:
        numbers = sorted(int(path.suffix[1:]) for path in self._directory.glob("log.*") if path.suffix[1:].isdigit())
        return [self._directory / "log", *(self._directory / f"log.{number}" for number in numbers)]


async def read_log(directory: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """What the container of `directory` printed, in chunks. Followed until it no longer runs and everything was read."""
    reader = Reader(directory, options.since)
    try:
        skip = 0
        if options.tail >= 0:
            skip = max(0, await trio.to_thread.run_sync(_count, directory, options.since) - options.tail)
        text = _Text(reader, skip, timestamps=options.timestamps)
        while True:
            more = running()
            chunk = await trio.to_thread.run_sync(text.chunk)
            if chunk:
                yield chunk
            elif options.follow and more:
                await trio.sleep(FOLLOW_POLL_S)
            else:
                return
    finally:
        reader.close()


def _count(directory: Path, since: float) -> int:
    """How many lines there are, an unfinished last one among them."""
    reader = Reader(directory, since)
    lines, full = 0, True
    try:
        while (entry := reader.next()) is not None:
            full = entry.full
            lines += full
    finally:
        reader.close()
    return lines + (not full)


class _Text:
    """Entries as text: lines put together, with their times when asked for, the first `skip` lines left out."""

    def __init__(self, reader: Reader, skip: int, *, timestamps: bool) -> None:
        self._reader, self._skip, self._timestamps = reader, skip, timestamps
        self._begins = True

    def chunk(self) -> bytes:
        """The next text, empty until more was written."""
        chunk = bytearray()
        while len(chunk) < CHUNK_BYTES and (entry := self._reader.next()) is not None:
            if self._skip:
                self._skip -= entry.full
                continue
            if self._timestamps and self._begins:
                chunk += entry.time + b" "
            chunk += entry.text + (b"\n" if entry.full else b"")
            self._begins = entry.full
        return bytes(chunk)
