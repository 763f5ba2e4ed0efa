"""A transaction of SQLite during whose commit the rest of the program runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing of it when that raises; apsw.Error when it cannot be committed. Not nested.

    `with connection` does the same and holds Python's lock meanwhile (apsw 3.54): no thread runs until the disk has synced.
    """
    connection.execute("BEGIN").fetchall()
    try:
        yield
        connection.execute("COMMIT").fetchall()
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself after some errors
            connection.execute("ROLLBACK").fetchall()
        raise
