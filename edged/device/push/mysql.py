"""pushMethod dbMethod.mysql: a table a property, as KubeEdge's mappers have it. A shell: PyMySQL in a thread.

A table "namespace/device/property" has `ts` (UTC, in milliseconds) and `field`, and beside KubeEdge's columns the node, the
report's id and the place in it, which are unique: a repeat changes nothing.
"""

import datetime
import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import trio

from edged.device.push.parcels import TIMEOUT_S, Credentials, Parcel, Target
from edged.errors import DeniedError, InvalidError, UnreachableError
from edged.kit.address import parse_address

if TYPE_CHECKING:
    from pymysql import Connection

MAX_NAME = 64  # characters of an identifier (dev.mysql.com, "Identifier Length Limits")
DIGEST = 8  # of its hexadecimal digits, where a name is too long
REFUSED = {1044, 1045, 1049, 1054, 1142, 1146, 1227, 1698, 3118}  # no access, no such database, table or column, locked account
S_MS = 1000.0
MAX_MADE = 10_000  # tables that are known to be there; with more they are asked for again

Row = tuple[str, str, str, int, int]  # ts, field, node, report, place


class MysqlSender:
    """A Sender to one database. A call that is cancelled leaves its thread to end by itself, within its timeouts."""

    def __init__(self, target: Target, credentials: Credentials, node: str) -> None:
        import pymysql  # noqa: PLC0415  a node that pushes to none does not pay for it

        self._pymysql, self._target, self._credentials, self._node = pymysql, target, credentials, node
        self._one = trio.CapacityLimiter(1)
        self._connection: Connection[Any] | None = None
        self._made: set[str] = set()

    async def send(self, parcels: Sequence[Parcel]) -> int:
        """All of them, in one transaction; see Sender."""
        tables = rows(parcels, self._node)
        await self._thread(lambda: self._insert(tables))
        return 0

    async def aclose(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection.close()

    def _insert(self, tables: dict[str, list[Row]]) -> None:
        connection, self._connection = self._connection or self._connect(), None
        with ExitStack() as undo:
            undo.callback(connection.close)  # and with it what was begun
            self._fill(connection, tables)
            undo.pop_all()
        self._connection = connection

    def _fill(self, connection: "Connection[Any]", tables: dict[str, list[Row]]) -> None:
        with connection.cursor() as cursor:
            for table in tables.keys() - self._made:
                cursor.execute(create(table))
            self._made = (self._made if len(self._made) < MAX_MADE else set()) | tables.keys()
            for table, some in tables.items():
                cursor.executemany(
                    f"INSERT INTO `{table}` (ts, field, node, report, place) VALUES (%s, %s, %s, %s, %s)"  # noqa: S608  `name`
                    " ON DUPLICATE KEY UPDATE ts = ts",
                    some,
                )
        connection.commit()

    def _connect(self) -> "Connection[Any]":
        database, user = self._target.names
        address = parse_address(self._target.url)
        return self._pymysql.connect(
            host=address.host,
            port=address.port,
            user=self._credentials.user or user,
            password=self._credentials.password,
            database=database,
            charset="utf8mb4",
            connect_timeout=int(TIMEOUT_S),
            read_timeout=int(TIMEOUT_S),
            write_timeout=int(TIMEOUT_S),
        )

    async def _thread(self, function: Callable[[], Any]) -> None:
        errors = self._pymysql.err
        try:
            await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._one)
        except (errors.DataError, errors.IntegrityError, errors.NotSupportedError) as error:
            raise InvalidError(f"{self._target} does not take this: {_text(error)}") from error
        except errors.MySQLError as error:
            refused = error.args and error.args[0] in REFUSED
            text = f"{self._target} {'refuses us' if refused else 'cannot be used'}: {_text(error)}"
            raise (DeniedError if refused else UnreachableError)(text) from error


def rows(parcels: Sequence[Parcel], node: str) -> dict[str, list[Row]]:
    """{table: rows} of these parcels, in order. InvalidError: a time that is none of a calendar."""
    found: dict[str, list[Row]] = {}
    for parcel in parcels:
        for place, each in enumerate(parcel.readings):
            try:
                at = datetime.datetime.fromtimestamp(each.time / S_MS, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
            except (ValueError, OverflowError, OSError) as error:
                raise InvalidError(f"{parcel.namespace}/{parcel.device}: {each.time} ms is no time of a calendar") from error
            name = table_name(f"{parcel.namespace}/{parcel.device}/{each.property}")
            found.setdefault(name, []).append((at, each.value, node, parcel.id, place))
    return found


def table_name(text: str) -> str:
    """A name that may stand between backquotes; one that is too long ends in a digest."""
    clean = "".join("_" if each in "`\\\0" or ord(each) > 0xFFFF else each for each in text).rstrip()
    if len(clean) > MAX_NAME or clean != text:
        digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST]
        return f"{clean[: MAX_NAME - DIGEST - 1]}-{digest}"
    return clean


def create(table: str) -> str:
    """The statement that makes a table, if it is not there."""
    return (
        f"CREATE TABLE IF NOT EXISTS `{table}` (id BIGINT AUTO_INCREMENT PRIMARY KEY,"
        " ts DATETIME(3) NOT NULL, field TEXT CHARACTER SET utf8mb4,"
        " node VARCHAR(253) CHARACTER SET ascii NOT NULL, report BIGINT NOT NULL, place INT NOT NULL,"
        " UNIQUE KEY report (node, report, place))"
    )


def _text(error: Exception) -> str:
    return str(error.args[1]) if len(error.args) > 1 else str(error)
