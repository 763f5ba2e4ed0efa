import contextlib
import threading
from pathlib import Path

import apsw
import pytest

from edged.kit.sqlite import transaction

PATIENCE_MS = 20_000


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(tmp_path / "file.db"))
    connection.execute("CREATE TABLE numbers (number)").fetchall()
    return connection


def numbers(connection: apsw.Connection) -> list[object]:
    return [number for (number,) in connection.execute("SELECT number FROM numbers")]


def put(connection: apsw.Connection, number: int) -> None:
    connection.execute("INSERT INTO numbers VALUES (?)", (number,)).fetchall()


def test_what_is_done_inside_is_committed(connection: apsw.Connection) -> None:
    with transaction(connection):
        put(connection, 1)
        with connection:  # a savepoint
            put(connection, 2)
    assert numbers(apsw.Connection(connection.filename)) == [1, 2]
    assert not connection.in_transaction


def test_what_raises_is_taken_back(connection: apsw.Connection) -> None:
    with pytest.raises(KeyError), transaction(connection):
        put(connection, 1)
        raise KeyError
    assert numbers(connection) == []
    assert not connection.in_transaction


def reading(connection: apsw.Connection) -> apsw.Cursor:
    """A read that is under way: nothing is committed before it ends."""
    cursor = apsw.Connection(connection.filename).execute("SELECT 1 UNION ALL SELECT number FROM numbers")
    next(cursor)
    return cursor


def test_what_cannot_be_committed_is_taken_back(connection: apsw.Connection) -> None:
    reader = reading(connection)
    with pytest.raises(apsw.BusyError), transaction(connection):
        put(connection, 1)
    assert not connection.in_transaction
    reader.close()
    assert numbers(connection) == []


def test_other_threads_run_while_it_commits(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(PATIENCE_MS)
    reader, other = reading(connection), apsw.Connection(connection.filename)

    def end_reading_during_the_commit() -> None:
        with contextlib.suppress(apsw.BusyError):  # nobody begins to read while a commit waits
            while True:
                numbers(other)
        reader.close()

    with transaction(connection):
        put(connection, 1)
        thread = threading.Thread(target=end_reading_during_the_commit)
        thread.start()
    thread.join()
    assert numbers(connection) == [1]
