import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.store.rows import COLUMNS, NAMES, TEXTS, Placed, clock_of, from_raw, from_row, place_of, to_row
from edged.wire.sync import Register

ONE = Register("pods", "default", "web-0", "body", "u1", "site-1/gw-a:1", 7, 99, b'{"a":1}', b"signed")


def test_a_register_comes_back_as_it_was() -> None:
    for one in (ONE, msgspec.structs.replace(ONE, value=None)):
        row = to_row(one, 5)
        assert len(row) == len(NAMES) == COLUMNS.count(",") + 1
        assert from_row(row) == Placed(one, 5)
        assert place_of(row) == one.place == ("site-1", "pods", "default", "web-0", "body")
        assert clock_of(row) == 99


@given(st.integers(0, len(NAMES) - 1), st.none() | st.integers() | st.floats() | st.text() | st.binary())
def test_a_row_with_any_other_value_is_not_what_was_written(column: int, other: object) -> None:
    row = list(to_row(ONE, 5))
    if row[column] == other:
        return
    row[column] = other
    assert from_row(tuple(row)) is None
    place_of(tuple(row)), clock_of(tuple(row))


@pytest.mark.parametrize("bit", range(8 * 7))
def test_every_flipped_bit_of_a_value_is_found(bit: int) -> None:
    row = list(to_row(ONE, 5))
    value = bytearray(b'{"a":1}')
    value[bit // 8] ^= 1 << bit % 8
    row[9] = bytes(value)
    assert from_row(tuple(row)) is None


def test_texts_that_are_no_text_any_more() -> None:
    row = to_row(ONE, 5)
    raw = (*(text.encode() for text in row[:TEXTS]), *row[TEXTS:])
    assert from_raw(raw) == row
    assert from_row(from_raw((b"\xff\xfe", *raw[1:]))) is None
