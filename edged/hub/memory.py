"""The file of last known addresses: read at start, written seldom, because flash wears out."""

from pathlib import Path

import trio

from edged.errors import InvalidError
from edged.hub.book import MAX_BOOK, Book
from edged.kit.files import write_private
from edged.kit.log import Log

FILE = "peers.json"
WRITE_S = 600.0  # between writes, at least; a stop writes what is new since


class Memory:
    """Of `book`, in FILE of `directory`; None: nothing is remembered. A file that cannot be used is as good as none."""

    def __init__(self, directory: Path | None, book: Book, log: Log) -> None:
        self._path = directory / FILE if directory is not None else None
        self._book, self._log = book, log
        self._next = -float("inf")

    def recall(self) -> None:
        """Read the file into the book."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                self._book.load(file.read(MAX_BOOK + 1))
        except FileNotFoundError:
            return
        except (OSError, InvalidError) as error:
            self._log.warning(f"{self._path}: {error}; going on without the last known addresses")

    async def keep(self) -> None:
        """Write the file in a thread, when there is news and the last write is long enough ago."""
        now = trio.current_time()
        if self._path is not None and self._book.news and now >= self._next:
            self._next = now + WRITE_S
            await trio.to_thread.run_sync(self._write, self._path, self._book.dump())

    def save(self) -> None:
        """Write the file here and now, when there is news: the node stops."""
        if self._path is not None and self._book.news:
            self._write(self._path, self._book.dump())

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_private(path, data)
        except OSError as error:
            self._log.warning(f"{path}: {error.strerror}; trying again when an address is new")
