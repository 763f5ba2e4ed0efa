import apsw
import pytest

from edged.store.faults import first, is_damage, why


def test_why() -> None:
    assert why(apsw.FullError("database or disk is full")) == "the disk is full (database or disk is full)"
    assert why(apsw.ReadOnlyError("x")) == "the file system is read-only (x)"
    assert why(apsw.IOError("disk I/O error")) == "I/O error (disk I/O error)"
    assert why(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"


def test_the_error_that_all_began_with() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (a)")
    connection.pragma("max_page_count", 2)
    with pytest.raises(apsw.Error) as raised, connection, connection:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert isinstance(first(raised.value), apsw.FullError)
    assert why(raised.value).startswith("the disk is full")


def test_what_is_damage() -> None:
    assert is_damage(apsw.CorruptError("x"))
    assert is_damage(apsw.NotADBError("x"))
    assert not is_damage(apsw.IOError("x"))
