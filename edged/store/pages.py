"""Rows out of the pages of a damaged SQLite database, whatever became of what leads to them. Pure.

SQLite finds a row by way of the first page, a table's root and the pages between; where one of them is gone, so are all
rows behind it. But each leaf page says by itself which rows it holds (sqlite.org/fileformat2.html, sections 1.6, 2.1 and
4.1), so here every page of the file and of its log is looked at. What comes out may be an earlier version of a row, or
nonsense: who asks must know a true row by itself.
"""

from collections.abc import Callable, Iterator
from typing import Any

PAGE = 4096  # bytes: the size that SQLite gives a new database
MAX_PAGES = 1 << 16  # of the file, and of its log: 256 MB each, some minutes
MAX_PAYLOAD = 4 << 20  # bytes of a row: four times the largest register
LEAF = 0x0D  # first byte of a leaf page of a table
FIRST = 100  # bytes before the first page's own header
LOG_HEADER, FRAME_HEADER = 32, 24
LOG_MAGIC = (0x377F0682, 0x377F0683)
MAX_LOCAL = PAGE - 35  # bytes of a row that stand on its leaf page; of a longer one at least MIN_LOCAL
MIN_LOCAL = (PAGE - 12) * 32 // 255 - 23
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # serial type: bytes
MAX_VARINT = 9

Read = Callable[[int, int], bytes]
Values = tuple[Any, ...]


def rows(database: Read, log: Read, columns: int) -> Iterator[Values]:
    """The rows of so many columns that stand on any leaf page, in no order; some may come more than once.

    `database(offset, size)` and `log` read the file and its log: fewer bytes at the end, any where the disk does not read.
    """
    frames = list(_frames(log))
    latest = dict(frames)

    def page(number: int) -> bytes:
        at = latest.get(number)
        return database((number - 1) * PAGE, PAGE) if at is None else log(at, PAGE)

    for number in range(1, MAX_PAGES + 1):
        data = database((number - 1) * PAGE, PAGE)
        if not data:
            break
        yield from _leaf(data, FIRST if number == 1 else 0, page, columns)
    for number, at in frames:
        yield from _leaf(log(at, PAGE), FIRST if number == 1 else 0, page, columns)


def _frames(log: Read) -> Iterator[tuple[int, int]]:
    """The pages in a log: (number, where). What an earlier log left behind has other salts."""
    header = log(0, LOG_HEADER)
    if len(header) < LOG_HEADER or int.from_bytes(header[:4]) not in LOG_MAGIC:
        return
    salts = header[16:24]
    for count in range(MAX_PAGES):
        at = LOG_HEADER + count * (FRAME_HEADER + PAGE)
        frame = log(at, FRAME_HEADER)
        if len(frame) < FRAME_HEADER or frame[8:16] != salts:
            return
        yield int.from_bytes(frame[:4]), at + FRAME_HEADER


def _leaf(data: bytes, start: int, page: Callable[[int], bytes], columns: int) -> Iterator[Values]:
    if len(data) < PAGE or data[start] != LEAF:
        return
    cells = start + 8
    for number in range(min(int.from_bytes(data[start + 3 : start + 5]), (PAGE - cells) // 2)):
        pointer = int.from_bytes(data[cells + 2 * number : cells + 2 * number + 2])
        try:
            values = _record(_payload(data, pointer, page))
        except (IndexError, ValueError):  # no cell, or a damaged one: the next may be sound
            continue
        if len(values) == columns:
            yield values


def _payload(data: bytes, at: int, page: Callable[[int], bytes]) -> bytes:
    """A row's bytes, gathered from its leaf page and its overflow pages. ValueError, IndexError when they are not there."""
    size, at = _varint(data, at)
    _, at = _varint(data, at)
    if size > MAX_PAYLOAD:
        raise ValueError(size)
    if size <= MAX_LOCAL:
        return data[at : at + size]
    local = MIN_LOCAL + (size - MIN_LOCAL) % (PAGE - 4)
    local = local if local <= MAX_LOCAL else MIN_LOCAL
    payload = bytearray(data[at : at + local])
    following = data[at + local : at + local + 4]
    while len(payload) < size:
        overflow = page(int.from_bytes(following))
        if len(overflow) < PAGE:
            raise ValueError(following)
        following = overflow[:4]
        payload += overflow[4 : 4 + size - len(payload)]
    return bytes(payload)


def _record(payload: bytes) -> Values:
    """The values of a row. ValueError, IndexError when it is none of ours."""
    end, at = _varint(payload, 0)
    types = []
    while at < end:
        kind, at = _varint(payload, at)
        types.append(kind)
    values: list[Any] = []
    for kind in types:
        value, at = _value(payload, at, kind)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    size = INTEGERS.get(kind) or (kind - 12) // 2
    data = payload[at : at + size]
    if len(data) < size or kind in (7, 10, 11):  # no register has a fraction, and two types are SQLite's own
        raise ValueError(kind)
    if kind in INTEGERS:
        return int.from_bytes(data, signed=True), at + size
    return (data.decode() if kind % 2 else data), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for count in range(MAX_VARINT):
        byte = data[at + count]
        if count == MAX_VARINT - 1:
            return number << 8 | byte, at + MAX_VARINT
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return number, at + count + 1
