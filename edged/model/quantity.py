"""Quantities of resources, exactly: "500m", "1.5Gi", "1e3" (Kubernetes, apimachinery `resource.Quantity`)."""

import re
from decimal import ROUND_UP, Context, Decimal

from edged.errors import InvalidError

MAX_TEXT = 64  # characters: the longest exact value (19 digits, a point, 9 digits, a suffix) has 32
LARGEST = 2**63 - 1  # a larger value becomes this one, as in Kubernetes
SMALLEST = Decimal("1e-9")  # what is smaller is rounded away from zero, as in Kubernetes

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?)|[eE]([+-]?\d{1,4}))", re.ASCII)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX_OF = {power: suffix for suffix, power in _DECIMAL.items()}
_EXACT = Context(prec=MAX_TEXT + 24, Emax=99_999, Emin=-99_999)
REGEX = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"


def parse(text: str) -> Decimal:
    """The exact value; InvalidError when it is no quantity."""
    return _read(text)[0]


def canonical(text: str) -> str:
    """The same value as Kubernetes writes it: no fraction, the largest suffix of the same family ("0.5" is "500m")."""
    value, family = _read(text)
    if family == "binary" and abs(value) >= 1024 and value == int(value):
        return _binary(int(value))
    return _decimal(value, exponent=family == "exponent")


def ceil(text: str) -> int:
    """The value in whole units (bytes, cores, pods), a fraction rounded up."""
    return _away(parse(text))


def millis(text: str) -> int:
    """The value in thousandths (millicores), a fraction of one rounded up."""
    return _away(parse(text) * 1000)


def _read(text: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text) if len(text) <= MAX_TEXT else None
    if match is None:
        raise InvalidError(f"quantities must match the regular expression '{REGEX}'")
    number, suffix, exponent = Decimal(match[1]), match[2], match[3]
    if exponent is not None:
        value, family = _EXACT.scaleb(number, int(exponent)), "exponent"
    elif suffix in _BINARY:
        value, family = _EXACT.multiply(number, Decimal(1024 ** _BINARY[suffix])), "binary"
    else:
        value, family = _EXACT.scaleb(number, _DECIMAL[suffix]), "decimal"
    return _bounded(value), family


def _bounded(value: Decimal) -> Decimal:
    if abs(value) > LARGEST:
        return Decimal(LARGEST if value > 0 else -LARGEST)
    return value.quantize(SMALLEST, ROUND_UP, _EXACT)


def _away(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_UP))


def _binary(units: int) -> str:
    suffix = ""
    for name in _BINARY:
        if units % 1024:
            break
        units, suffix = units // 1024, name
    return f"{units}{suffix}"


def _decimal(value: Decimal, *, exponent: bool) -> str:
    units, power = int(_EXACT.scaleb(value, 9)), -9
    if units == 0:
        return "0"
    while units % 1000 == 0 and power < 18:
        units, power = units // 1000, power + 3
    if exponent:
        return f"{units}e{power}" if power else f"{units}"
    return f"{units}{_SUFFIX_OF[power]}"
