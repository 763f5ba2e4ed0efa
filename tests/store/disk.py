"""A disk that loses power: what is found on it afterwards, when only what was synced is sure to be there.

SQLite's own account of what a disk may do: sqlite.org/atomiccommit.html, section 9, and sqlite.org/psow.html.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

SECTORS = (512, 4096)  # bytes that a disk writes at once


class Create(NamedTuple):
    """A name now stands for a new, empty file; `file` tells it from those that had the name before."""

    name: str
    file: int


class Remove(NamedTuple):
    """A name is gone. `synced`: and the directory with it."""

    name: str
    synced: bool


class Write(NamedTuple):
    file: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    file: int
    size: int


class Sync(NamedTuple):
    """All that was written to the file is on the disk. `names`: all names of the directory are, too.

    `failed`: it is not, and never will be: the kernel takes the pages for clean and forgets that they are not written.
    """

    file: int
    names: bool = False
    failed: bool = False


Change = Write | Truncate
Operation = Create | Remove | Change | Sync


class Disk:
    """One directory, fed the operations on it in order. `cut` may be asked at any time, any number of times."""

    def __init__(self, files: dict[str, bytes], random: Random) -> None:
        """`files` are there, and were synced. They are numbered from 0 in the order of `files`."""
        self._random = random
        self._names: dict[str, int | None] = {name: file for file, name in enumerate(files)}
        self._new_names: list[tuple[str, int | None]] = []
        self._content = {file: bytearray(content) for file, content in enumerate(files.values())}
        self._unsynced: dict[int, list[Change]] = {file: [] for file in self._content}

    def apply(self, operation: Operation) -> None:
        """One more operation was begun; `cut` decides how much of it was done."""
        match operation:
            case Create(name, file):
                self._content[file], self._unsynced[file] = bytearray(), []
                self._new_names.append((name, file))
            case Remove(name, synced):
                self._new_names.append((name, None))
                if synced:
                    self._settle_names()
            case Write(file, _, _) | Truncate(file, _):
                self._unsynced[file].append(operation)
            case Sync(file, names, failed):
                self._settle(file, failed=failed)
                if names:
                    self._settle_names()

    def _settle_names(self) -> None:
        self._names |= dict(self._new_names)
        self._new_names.clear()

    def _settle(self, file: int, *, failed: bool) -> None:
        if failed:
            damage(self._content[file], self._unsynced[file], self._random)
        else:
            for change in self._unsynced[file]:
                perform(self._content[file], change)
        self._unsynced[file].clear()

    def cut(self, random: Random) -> dict[str, bytes]:
        """The files that are found when the power is cut now: one of the many ways in which it may end."""
        names = dict(self._names)
        for name in {name for name, _ in self._new_names}:
            history = [file for new, file in self._new_names if new == name]
            reached = random.randint(0, len(history))
            if reached:
                names[name] = history[reached - 1]
        found: dict[str, bytes] = {}
        for name, file in names.items():
            if file is not None:
                content = bytearray(self._content[file])
                damage(content, self._unsynced[file], random)
                found[name] = bytes(content)
        return found


def perform(content: bytearray, change: Change) -> None:
    """Do all of a change. What lies between the end of a file and a write beyond it are zeros."""
    if isinstance(change, Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
    else:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data


def damage(content: bytearray, changes: Sequence[Change], random: Random) -> None:
    """Do some of the changes, some in part, in some order: what a disk without power, or one that failed, may have done."""
    way = random.choice(("none", "all", "first", "each", "each", "each", "shuffled"))
    sector = random.choice(SECTORS)
    if way == "first" and changes:
        last = random.randrange(len(changes))
        for change in changes[:last]:
            perform(content, change)
        _tear(content, changes[last], sector, random)
    elif way in ("all", "each", "shuffled"):
        kept = [change for change in changes if way == "all" or random.random() < 0.6]
        if way == "shuffled":
            random.shuffle(kept)
        for change in kept:
            if way == "all" or random.random() < 0.7:
                perform(content, change)
            else:
                _tear(content, change, sector, random)


def _tear(content: bytearray, change: Change, sector: int, random: Random) -> None:
    """Write some sectors of a write, and noise where the power went while a sector was written. A truncation is whole."""
    if isinstance(change, Truncate):
        return
    at, end = change.offset, change.offset + len(change.data)
    while at < end:
        upto = min(end, (at // sector + 1) * sector)
        luck = random.random()
        if luck < 0.5:
            perform(content, Write(change.file, at, change.data[at - change.offset : upto - change.offset]))
        elif luck < 0.6:
            perform(content, Write(change.file, at, random.randbytes(upto - at)))
        at = upto
