import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.floats import FORMATS, exact
from edged.device.mapper import PropertyError


def test_the_fewest_digits() -> None:
    assert exact(0.1) == Decimal("0.1")
    (single,) = struct.unpack(">f", struct.pack(">f", 21.6))
    assert exact(single, 4) == Decimal("21.6")
    assert exact(single) != Decimal("21.6")


@pytest.mark.parametrize("size", [2, 4, 8])
@given(st.data())
def test_a_float_is_itself_again(size: int, data: st.DataObject) -> None:
    number = data.draw(st.floats(width=8 * size, allow_nan=False, allow_infinity=False))  # type: ignore[call-overload]
    assert struct.pack(FORMATS[size], float(exact(number, size))) == struct.pack(FORMATS[size], number)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number(number: float) -> None:
    with pytest.raises(PropertyError, match="which is no number"):
        exact(number)
