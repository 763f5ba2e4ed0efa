from pathlib import Path

import apsw
import pytest

from edged.errors import StorageError
from edged.store import schema


def test_a_new_file_is_durable_and_current(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "store.db"))
    schema.prepare(connection)
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("user_version") == len(schema.MIGRATIONS)
    schema.prepare(connection)
    connection.close()


def test_an_older_file_keeps_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "store.db")
    connection = apsw.Connection(path)
    schema.prepare(connection)
    connection.execute("INSERT INTO held VALUES ('/gw-a:1', 7, 0)").fetchall()
    connection.close()
    newer = (*schema.MIGRATIONS, "ALTER TABLE held ADD COLUMN seen INTEGER; CREATE TABLE more (x);")
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    connection = apsw.Connection(path)
    schema.prepare(connection)
    assert connection.execute("SELECT * FROM held").fetchall() == [("/gw-a:1", 7, 0, None)]
    assert connection.execute("SELECT count(*) FROM more").fetchall() == [(0,)]
    connection.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "store.db")
    connection = apsw.Connection(path)
    schema.prepare(connection)
    connection.close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (x); CREATE TABLE more (x);"))
    connection = apsw.Connection(path)
    with pytest.raises(apsw.SQLError):
        schema.prepare(connection)
    connection.close()
    connection = apsw.Connection(path)
    assert connection.pragma("user_version") == len(schema.MIGRATIONS) - 1
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchall() == [(0,)]
    connection.close()


def test_a_file_that_cannot_be_durable_is_refused(tmp_path: Path) -> None:
    holder = apsw.Connection(str(tmp_path / "store.db"))
    holder.execute("CREATE TABLE t (x); BEGIN IMMEDIATE").fetchall()  # another process that keeps the file from turning to WAL
    connection = apsw.Connection(str(tmp_path / "store.db"))
    with pytest.raises((StorageError, apsw.BusyError)):
        schema.prepare(connection)
    connection.close()
    holder.close()
