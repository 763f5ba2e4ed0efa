"""What a store at work does to its disk, written down so that `disk.py` can go through it again."""

import errno
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import apsw

from tests.store import tap
from tests.store.disk import Create, Remove, Sync, Truncate, Write

JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class Recorder:
    """A tap on a directory. `files` is what stood in it at first; `operations` follow, and others may add marks to them.

    `fails` are the numbers of the operations that fail, by their kind ("sync", "write").
    """

    def __init__(self, directory: Path, fails: Mapping[str, Collection[int]] | None = None) -> None:
        self.files = {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
        self.operations: list[Any] = []
        self.fails = fails or {}
        self._done = Counter[str]()
        self._numbers = {name: number for number, name in enumerate(self.files)}
        self._made = len(self.files)
        self._new: set[int] = set()

    def __call__(self, operation: tap.Operation) -> tap.Refusal:
        """Write one operation down, which is about to be done."""
        name = operation.name
        self._done[operation.kind] += 1
        if self._done[operation.kind] in self.fails.get(operation.kind, ()):
            return self._fail(operation)
        match operation.kind:
            case "open":
                self._open(name, operation.flags)
            case "delete" if name in self._numbers:
                del self._numbers[name]
                self.operations.append(Remove(name, synced=bool(operation.at)))
            case "write":
                self.operations.append(Write(self._numbers[name], operation.at, operation.data))
            case "truncate":
                self.operations.append(Truncate(self._numbers[name], operation.at))
            case "sync":
                self._sync(self._numbers[name])
        return None

    def _open(self, name: str, flags: int) -> None:
        if name in self._numbers:
            return
        self._numbers[name] = self._made
        self.operations.append(Create(name, self._made))
        if flags & JOURNALS:
            self._new.add(self._made)
        self._made += 1

    def _sync(self, file: int) -> None:
        names = file in self._new  # os_unix.c, UNIXFILE_DIRSYNC: the first sync of a new journal syncs its directory
        self._new.discard(file)
        self.operations.append(Sync(file, names))

    def _fail(self, operation: tap.Operation) -> tap.Refusal:
        """A full disk takes half of a write; one that breaks may have written anything of what it was to sync."""
        file = self._numbers[operation.name]
        if operation.kind == "sync":
            self.operations.append(Sync(file, failed=True))
            error = errno.EIO
        else:
            self.operations.append(Write(file, operation.at, operation.data[: len(operation.data) // 2]))
            error = errno.ENOSPC
        return tap.refuse(error, tap.code(operation.kind, error))
