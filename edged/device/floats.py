"""Floats as exact decimals: the fewest digits that mean a float and no other. Pure."""

import math
import struct
from decimal import Decimal

from edged.device.mapper import PropertyError

FORMATS = {2: ">e", 4: ">f", 8: ">d"}  # by bytes, IEEE 754's half, single and double, as struct calls them
DIGITS = {2: range(3, 6), 4: range(6, 10)}  # so few always survive, so many always suffice


def exact(number: float, size: int = 8) -> Decimal:
    """The number: 21.6, not 21.600000381469727, when it is the float of `size` bytes nearest to it.

    PropertyError: it is none (NaN, infinite).
    """
    if not math.isfinite(number):
        raise PropertyError(f"holds {number}, which is no number")
    if size == 8:
        return Decimal(repr(number))
    data = struct.pack(FORMATS[size], number)
    for digits in DIGITS[size]:
        text = format(number, f".{digits}g")
        if struct.pack(FORMATS[size], float(text)) == data:
            break
    return Decimal(text)
