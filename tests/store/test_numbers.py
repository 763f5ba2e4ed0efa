import apsw
import pytest

from edged.store import numbers
from edged.store.numbers import FLOORS, HELD, SELF
from edged.store.schema import prepare

ORIGIN = "site-1/gw-a:5f0c91aa"


@pytest.fixture
def connection() -> apsw.Connection:
    opened = apsw.Connection(":memory:")
    prepare(opened)
    return opened


def test_numbers_are_what_was_put(connection: apsw.Connection) -> None:
    assert numbers.one(connection, HELD, ORIGIN) == 0
    numbers.put(connection, HELD, ORIGIN, 6)
    numbers.put(connection, HELD, ORIGIN, 7)
    numbers.put(connection, FLOORS, ORIGIN, 3)
    numbers.put(connection, SELF, "gw-a:5f0c91aa", 2)
    assert numbers.one(connection, HELD, ORIGIN) == 7
    assert numbers.every(connection, HELD) == {ORIGIN: 7}
    assert numbers.every(connection, FLOORS) == {ORIGIN: 3}
    assert numbers.every(connection, SELF) == {"gw-a:5f0c91aa": 2}
    numbers.check(connection)


@pytest.mark.parametrize("table", [HELD, FLOORS, SELF])
@pytest.mark.parametrize(
    "rot",
    [
        "{number} = {number} + 1",
        "{number} = 'seven'",
        "{name} = 'site-1/gw-b:1'",
        "{name} = CAST(x'ff' AS TEXT)",
        "checksum = 0",
        "checksum = 'none'",
    ],
)
def test_a_row_that_is_not_what_was_written_damages_the_file(connection: apsw.Connection, table: str, rot: str) -> None:
    numbers.put(connection, table, ORIGIN, 7)
    name, number = ("id", "starts") if table == SELF else ("origin", "seq")
    connection.execute(f"UPDATE {table} SET {rot.format(name=name, number=number)}").fetchall()  # noqa: S608
    with pytest.raises(apsw.CorruptError, match=f"a row of {table} is not what was written"):
        numbers.check(connection)


def test_a_row_of_another_table_is_no_row(connection: apsw.Connection) -> None:
    numbers.put(connection, FLOORS, ORIGIN, 7)
    connection.execute("INSERT INTO held SELECT * FROM floors").fetchall()
    with pytest.raises(apsw.CorruptError):
        numbers.one(connection, HELD, ORIGIN)
