"""What can still be read of a damaged database, taken over into a new one.

Nothing of it is trusted but what its own checksum confirms. What this node had written is written again under the new
store's origins, signed anew, with the clock and value that it had: no peer may have it. What others had written is put
where it stood, and the new store does not claim to have all of it: it comes again from peers, who have it whole.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from edged.store import numbers, pages
from edged.store.faults import DAMAGE
from edged.store.numbers import SELF
from edged.store.opaque import readable as legible
from edged.store.origins import Origins
from edged.store.rows import NAMES, RAW_COLUMNS, Row, from_raw, from_row
from edged.store.table import Table
from edged.store.vault import SealedError, Vault
from edged.wire.sync import FLEET, Register, home_of, node_of, scope_of, signed_bytes

Sign = Callable[[bytes], bytes]
UNKNOWN_STARTS = 1 << 20  # of a store that cannot say how often it was started: surely more often than it was
MAX_STARTS = 1 << 30  # beyond it change numbers would not fit
UNREADABLE = (*DAMAGE, apsw.SQLError, apsw.IOError, apsw.CantOpenError, UnicodeDecodeError)


class Salvaged(NamedTuple):
    """Registers that were taken over, this node's own and others', and rows that were found to be damaged."""

    own: int
    others: int
    lost: int

    def __str__(self) -> str:
        return f"{self.own} registers of its own and {self.others} of others taken over, {self.lost} seen to be damaged"


def salvage(damaged: Path, table: Table, vault: Vault, origins: Origins, sign: Sign) -> Salvaged:
    """Take over into `table`, which is empty, what `damaged` still has. The caller commits."""
    table.name(origins.id, _starts(damaged))
    rv = own = others = lost = 0
    numbers: dict[str, int] = {}
    for row in readable(damaged):
        register = _sound(row, vault)
        if register is None:
            lost += 1
            continue
        there = table.register(register.place)
        if there is not None and there.register.clock >= register.clock:
            continue  # a later one was found before
        rv += 1
        if _writer(register.origin) == _writer(origins.durable) and scope_of(register.origin) in (FLEET, origins.group):
            own += there is None
            origin = origins.of(scope_of(register.origin))
            numbers[origin] = numbers.get(origin, 0) + 1
            register = msgspec.structs.replace(register, origin=origin, seq=numbers[origin], signature=b"")
            register = msgspec.structs.replace(register, signature=sign(signed_bytes(register)))
        else:
            others += there is None
        table.replace(register, rv)
        table.cover(register.place, opaque=not legible(register))
    for origin, seq in numbers.items():
        table.hold(origin, seq)
    return Salvaged(own, others, lost)


def _writer(origin: str) -> tuple[str, str]:
    return home_of(origin), node_of(origin)


def _starts(damaged: Path) -> int:
    try:
        with closing(apsw.Connection(str(damaged), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            return starts(connection)
    except UNREADABLE:
        return UNKNOWN_STARTS


def starts(connection: apsw.Connection) -> int:
    """How often the store was started: change numbers and volatile origins of a start are not used again."""
    try:
        found = max(numbers.every(connection, SELF).values(), default=UNKNOWN_STARTS)
    except UNREADABLE:
        return UNKNOWN_STARTS
    return found if 0 < found < MAX_STARTS else UNKNOWN_STARTS


def _sound(row: Row, vault: Vault) -> Register | None:
    placed = from_row(row)
    if placed is None:
        return None
    try:
        value = vault.open(placed.register.place, placed.register.value)
    except SealedError:
        return None
    return msgspec.structs.replace(placed.register, value=value)


def readable(path: Path) -> Iterator[Row]:
    """The rows of the registers of a damaged database: as SQLite finds them, and if it does not find all, page by page."""
    whole = False
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as damaged:
            for row in damaged.execute(f"SELECT {RAW_COLUMNS} FROM registers ORDER BY rowid"):  # noqa: S608  constants
                yield from_raw(row)
        whole = True
    except UNREADABLE:
        pass  # that is why we are here
    if not whole:
        with _reader(path) as database, _reader(path.with_name(f"{path.name}-wal")) as log:
            yield from pages.rows(database, log, len(NAMES))


@contextmanager
def _reader(path: Path) -> Iterator[pages.Read]:
    """Reads a file that the disk may not give whole: what it does not give reads as zeros, and a missing file is empty."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield lambda offset, size: b""
        return

    def read(offset: int, size: int) -> bytes:
        try:
            return os.pread(descriptor, size, offset)
        except OSError:
            return bytes(size)

    try:
        yield read
    finally:
        os.close(descriptor)
