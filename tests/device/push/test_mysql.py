"""A real MariaDB gets KubeEdge's tables, and a repeat changes nothing."""

from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from msgspec.structs import replace

from edged.device.push.mysql import MAX_NAME, MysqlSender, create, rows, table_name
from edged.device.push.parcels import Credentials, Target
from edged.errors import DeniedError, InvalidError, UnreachableError
from tests.device.push.conftest import Server, free_port, parcel

SESAME = Credentials(password="sesame")  # noqa: S106  of the test's own server
TABLE = "default/meter/power"


@pytest.fixture
def cursor(mariadb: Server) -> Iterator[Any]:
    settings = {
        "host": "127.0.0.1",
        "port": mariadb.port,
        "user": "root",
        "database": "plant",
        "autocommit": True,
        "read_timeout": 20,
    }
    with pymysql.connect(**settings, password="sesame") as connection, connection.cursor() as made:  # type: ignore[arg-type]  # noqa: S106
        made.execute(f"DROP TABLE IF EXISTS `{TABLE}`")
        yield made


def sender(port: int, credentials: Credentials = SESAME, database: str = "plant", user: str = "root") -> MysqlSender:
    return MysqlSender(Target("mysql", f"127.0.0.1:{port}", (database, user)), credentials, "gw-a")


@pytest.mark.tool("mariadb-server")
async def test_readings_are_rows(mariadb: Server, cursor: Any) -> None:
    made = sender(mariadb.port)
    nasty = "'; DROP TABLE x; -- \\ \u00fc \U0001f600"
    for _ in range(2):  # a repeat
        assert await made.send([parcel(1), parcel(2, nasty, "second of the same"), parcel(3)]) == 0
    await made.aclose()
    cursor.execute(f"SELECT ts, field, node, report, place FROM `{TABLE}` ORDER BY id")  # noqa: S608
    found = cursor.fetchall()
    assert [row[1:] for row in found] == [
        ("1.5", "gw-a", 1, 0),
        (nasty, "gw-a", 2, 0),
        ("second of the same", "gw-a", 2, 1),
        ("3.5", "gw-a", 3, 0),
    ]
    assert str(found[0][0]) == "2023-11-14 22:13:20.001000"


@pytest.mark.tool("mariadb-server")
async def test_all_or_nothing_of_a_batch_and_what_is_too_long_is_refused(mariadb: Server, cursor: Any) -> None:
    made = sender(mariadb.port)
    with pytest.raises(InvalidError, match="too long"):
        await made.send([parcel(1), parcel(2, "v" * 70_000)])
    assert await made.send([parcel(3)]) == 0
    await made.aclose()
    cursor.execute(f"SELECT report FROM `{TABLE}`")  # noqa: S608
    assert cursor.fetchall() == ((3,),)


@pytest.mark.tool("mariadb-server")
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"credentials": Credentials(password="wrong")}, "Access denied"),  # noqa: S106
        ({"database": "nowhere"}, "Unknown database"),
        ({"user": "nobody"}, "Access denied"),
    ],
)
async def test_a_refusal_is_said(mariadb: Server, settings: dict[str, Any], text: str) -> None:
    made = sender(mariadb.port, **settings)
    with pytest.raises(DeniedError, match=text):
        await made.send([parcel(1)])
    await made.aclose()


async def test_nobody_there_is_unreachable() -> None:
    made = sender(free_port())
    with pytest.raises(UnreachableError, match="refused"):
        await made.send([parcel(1)])
    await made.aclose()


def test_names_fit_and_stay_apart() -> None:
    assert table_name("default/meter/power") == "default/meter/power"
    long = [table_name(f"default/{'m' * 100}/p{number}") for number in range(2)]
    assert long[0] != long[1]
    assert all(len(name) <= MAX_NAME for name in long)
    assert "`" not in table_name("a`b")
    assert table_name("a`b") != table_name("a_b")
    assert "IF NOT EXISTS `t`" in create("t")


def test_a_time_that_is_none_is_refused() -> None:
    one = parcel(1)
    with pytest.raises(InvalidError, match="no time of a calendar"):
        rows([one._replace(readings=(replace(one.readings[0], time=1 << 62),))], "gw-a")
