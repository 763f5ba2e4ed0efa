"""What SQLite's errors mean for a store: why it takes no writes, and whether its file is damaged."""

import apsw

DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.TooBigError)  # too big: a length that was never written

_WHY: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.FullError, "the disk is full"),
    (apsw.ReadOnlyError, "the file system is read-only"),
    (apsw.IOError, "I/O error"),
    (apsw.CantOpenError, "the file cannot be opened"),
    (apsw.NoMemError, "out of memory"),
    (apsw.BusyError, "another process holds the file"),
    (apsw.CorruptError, "the file is damaged"),
    (apsw.NotADBError, "the file is damaged"),
    (apsw.TooBigError, "the file is damaged"),
)


def first(error: BaseException) -> BaseException:
    """The error that all began with: SQLite rolls back by itself after some, and apsw then fails to do it again."""
    while isinstance(error.__context__, apsw.Error):
        error = error.__context__
    return error


def why(error: BaseException) -> str:
    """One line for the person who is to repair it: `the disk is full (database or disk is full)`."""
    begun = first(error)
    known = next((text for kind, text in _WHY if isinstance(begun, kind)), "")
    return f"{known} ({begun})" if known else str(begun)


def is_damage(error: BaseException) -> bool:
    """Whether it says that what is on the disk is not what was written: no further write may trust the file."""
    return isinstance(first(error), DAMAGE)
