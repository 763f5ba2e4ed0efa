from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.store.pages import LOG_HEADER, MAX_LOCAL, MIN_LOCAL, PAGE, rows

SIZES = (0, 1, 100, MIN_LOCAL, MAX_LOCAL - 20, MAX_LOCAL, MAX_LOCAL + 1, PAGE, 3 * PAGE + 7, 100_000)
NUMBERS = (0, 1, -1, 127, -32768, 8_388_607, 1 << 31, -(1 << 40), 1 << 60)


def reader(data: bytes) -> Any:
    return lambda offset, size: data[offset : offset + size]


class Made:
    """A database and its log as they are in the middle of its use; `rows` are those that it holds."""

    def __init__(self, directory: Path) -> None:
        random = Random(7)
        with closing(apsw.Connection(str(directory / "a.db"))) as connection:
            connection.pragma("journal_mode", "wal")
            connection.execute("CREATE TABLE t (a, b, c, d)").fetchall()
            self.rows = set()
            for number in range(300):
                size = SIZES[number % len(SIZES)]
                row = (f"name-{number} ü", NUMBERS[number % len(NUMBERS)], random.randbytes(size), None)
                connection.execute("INSERT INTO t VALUES (?, ?, ?, ?)", row).fetchall()
                self.rows.add(row)
                if number == 150:
                    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            self.database = (directory / "a.db").read_bytes()
            self.log = (directory / "a.db-wal").read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("pages"))


def found(database: bytes, log: bytes) -> set[Any]:
    return set(rows(reader(database), reader(log), 4))


def test_every_row_is_found_in_the_file_or_in_its_log(made: Made) -> None:
    assert found(made.database, made.log) == made.rows
    assert 0 < len(found(made.database, b"")) < len(made.rows)


def test_what_leads_to_the_rows_need_not_be_there(made: Made) -> None:
    headless = bytes(2 * PAGE) + made.database[2 * PAGE :]
    assert found(headless, made.log) == made.rows


def test_a_log_of_another_time_is_not_read(made: Made) -> None:
    log = bytearray(made.log)
    log[16:24] = bytes(8)
    assert found(made.database, bytes(log)) == found(made.database, b"")
    log[:4] = b"none"
    assert found(made.database, bytes(log[: LOG_HEADER + 5])) == found(made.database, b"")


@given(seed=st.integers(0, 1 << 32), noise=st.integers(1, 300))
def test_damage_hides_rows_and_raises_nothing(made: Made, seed: int, noise: int) -> None:
    random = Random(seed)
    database = bytearray(made.database[: 40 * PAGE])
    for _ in range(noise):
        database[random.randrange(len(database))] = random.randrange(256)
    assert all(len(row) == 4 for row in rows(reader(bytes(database)), reader(made.log[: 40 * PAGE]), 4))


@given(st.binary(max_size=2 * PAGE))
def test_any_bytes_are_taken_for_pages(data: bytes) -> None:
    leaf = b"\x0d" + data.ljust(PAGE - 1, b"\x00")
    list(rows(reader(leaf[:PAGE] * 2), reader(data), 4))
