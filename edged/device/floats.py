"""Floats as exact decimals: the fewest digits that mean a float and no other. Pure."""

import math
import struct
from decimal import Decimal

from edged.device.mapper import PropertyError

SINGLE_DIGITS = range(6, 10)  # IEEE 754 single: 6 digits always survive, 9 always suffice


def exact(number: float, *, single: bool = False) -> Decimal:
    """The number: 21.6, not 21.600000381469727, when it is the `single` (32-bit) float nearest to it.

    PropertyError: it is none (NaN, infinite).
    """
    if not math.isfinite(number):
        raise PropertyError(f"holds {number}, which is no number")
    if not single:
        return Decimal(repr(number))
    texts = (format(number, f".{digits}g") for digits in SINGLE_DIGITS)
    return Decimal(next((text for text in texts if _single(float(text)) == _single(number)), repr(number)))


def _single(number: float) -> bytes:
    try:
        return struct.pack(">f", number)
    except OverflowError:  # rounded up beyond the largest: another digit is needed
        return b""
