"""The connections to a store's file, and what becomes of them when the disk refuses."""

from collections.abc import Callable
from pathlib import Path

import apsw

from edged.errors import StorageError
from edged.kit.log import Log
from edged.kit.sqlite import transaction
from edged.store.faults import is_damage, why
from edged.store.opening import reopen, suspect


class Disk:
    """Commits transactions and answers for reads that failed.

    A write that the disk refuses is refused at once, and the next is tried as if nothing had been, on a new connection,
    since what a failed write left in the old one is anybody's guess: so writing resumes with the first write after the
    space is back. Damage is another thing, since nothing may be built on it: `damage` says so, and the store ends.
    """

    def __init__(self, writer: apsw.Connection, reader: apsw.Connection, path: Path | None, log: Log) -> None:
        self.writer, self.reader = writer, reader
        self._path, self._log = path, log
        self._stale = False
        self.trouble = ""  # why the last write was refused; "" when it was not
        self.damage: StorageError | None = None

    def commit(self, work: Callable[[apsw.Connection], None]) -> StorageError | None:
        """On the executor: all that `work` does is on disk, or nothing of it is and the reason is returned."""
        try:
            if self._stale and self._path is not None:
                self.writer.close()
                self.writer = reopen(self._path)
            self._stale = False
            before = self.writer.total_changes()
            with transaction(self.writer):
                work(self.writer)
        except apsw.Error as error:
            self._stale = True
            return self._refused(error)
        if self.trouble and self.writer.total_changes() != before:  # else nothing was for the disk, which proves nothing
            self._log.info("the store takes writes again")
            self.trouble = ""
        return None

    def unread(self, error: apsw.Error) -> StorageError:
        """What a read comes to that SQLite failed to do."""
        self._note(error)
        return StorageError(f"the store cannot be read: {why(error)}")

    def give_up(self) -> None:
        """On the executor, once there is damage: have the next start look at the whole file. StorageError, always."""
        self._warn_next()
        raise self.damage or StorageError(f"{self._path} is given up")

    def close(self) -> None:
        """Close the file. StorageError when it is damaged, and no note of it can be left for the next start."""
        for connection in {self.writer, self.reader}:
            connection.close()
        if self.damage is not None:  # whoever met it may have ended the store before it gave up
            self._warn_next()

    def _warn_next(self) -> None:
        if self._path is not None:
            try:
                suspect(self._path, str(self.damage))
            except OSError as error:
                raise StorageError(f"{self.damage}; nor can a note of it be left: {error.strerror}") from error

    def _refused(self, error: apsw.Error) -> StorageError:
        reason = why(error)
        if not self.trouble:  # the same at each write would bury all else
            self._log.error(f"the store takes no writes: {reason}; reads go on, and each new write is tried")
        self.trouble = reason
        self._note(error)
        return StorageError(f"the store takes no writes: {reason}")

    def _note(self, error: apsw.Error) -> None:
        if self.damage is None and is_damage(error):
            self.damage = StorageError(f"{self._path}: {why(error)}; at the next start it is set aside and begun again")
