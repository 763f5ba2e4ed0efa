import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.floats import exact
from edged.device.mapper import PropertyError


def test_the_fewest_digits() -> None:
    assert exact(0.1) == Decimal("0.1")
    (single,) = struct.unpack(">f", struct.pack(">f", 21.6))
    assert exact(single, single=True) == Decimal("21.6")
    assert exact(single) != Decimal("21.6")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_single_is_itself_again(number: float) -> None:
    assert struct.pack(">f", float(exact(number, single=True))) == struct.pack(">f", number) or number == 0


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number(number: float) -> None:
    with pytest.raises(PropertyError, match="which is no number"):
        exact(number)
