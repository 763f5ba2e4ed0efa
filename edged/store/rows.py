"""A register as a row of the file, with a checksum that tells whether the flash still has what was written."""

import zlib
from typing import Any, NamedTuple

import msgspec

from edged.wire.sync import Place, Register

NAMES = (
    *("scope", "resource", "namespace", "name", "part", "uid", "origin", "seq", "clock"),
    *("value", "signature", "rv", "checksum"),
)
TEXTS = 7  # the first columns are text
COLUMNS = ", ".join(NAMES)
RAW_COLUMNS = ", ".join(f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END" for name in NAMES)

Row = tuple[Any, ...]
_ENCODER = msgspec.msgpack.Encoder()


class Placed(NamedTuple):
    """A register in its place since change `rv`."""

    register: Register
    rv: int


def to_row(register: Register, rv: int) -> Row:
    """The values of COLUMNS."""
    fields = (
        *register.place,
        *(register.uid, register.origin, register.seq, register.clock, register.value, register.signature, rv),
    )
    return (*fields, checksum(fields))


def checksum(fields: Row) -> int:
    """CRC-32 over all columns but itself: it finds every burst of up to 32 bits; against people there are signatures."""
    return zlib.crc32(_ENCODER.encode(fields))


def from_row(row: Row) -> Placed | None:
    """What `to_row` was given; None when the row is not what was written."""
    try:
        if checksum(row[:-1]) != row[-1]:
            return None
    except (TypeError, ValueError, OverflowError):  # nothing that was ever written
        return None
    _, resource, namespace, name, part, uid, origin, seq, clock, value, signature, rv, _ = row
    return Placed(Register(resource, namespace, name, part, uid, origin, seq, clock, value, signature), rv)


def from_raw(row: Row) -> Row:
    """A row of RAW_COLUMNS as one of COLUMNS: texts that are no UTF-8 any more become some that were never written."""
    texts = (value.decode(errors="replace") if isinstance(value, bytes) else value for value in row[:TEXTS])
    return (*texts, *row[TEXTS:])


def place_of(row: Row) -> Place:
    """Where a row stands, as far as it can be read."""
    scope, resource, namespace, name, part = (value if isinstance(value, str) else repr(value) for value in row[:5])
    return scope, resource, namespace, name, part


def clock_of(row: Row) -> int:
    """The clock of a damaged row as it reads, 0 when it is no number."""
    clock = row[8]
    return clock if isinstance(clock, int) else 0
