"""Modbus registers and coils as values of a model: types, scale, byte and register order, both ways and exact."""

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from edged.device.configdata import convert, invalid
from edged.device.mapper import PropertyError
from edged.device.values import EXACT, NUMBERS, Value, to_text
from edged.errors import Cause
from edged.model.meta import JSON

COIL, DISCRETE, INPUT, HOLDING = "CoilRegister", "DiscreteInputRegister", "InputRegister", "HoldingRegister"
MAX_REGISTERS = 125  # registers in one answer (Modbus Application Protocol 1.1b3, section 6.3)
MAX_WRITTEN = 123  # registers in one write (section 6.12)
ADDRESSES = 65536
MAX_SCALE_MAGNITUDE = 30  # powers of ten and digits; no meter has more

INTEGERS = {1: "h", 2: "i", 4: "q"}  # registers: struct's code, signed
FLOATS = {2: "f", 4: "d"}

Words = Sequence[int]  # registers (16 bits each), or coils (0 or 1), in the order of their addresses


class Visitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`visitors.configData` of a property, with KubeEdge's names; `signed` is ours.

    `offset` is the address of the first of `limit` registers, from 0. A value is what the registers hold times `scale`.
    `isSwap` swaps the two bytes of each register, `isRegisterSwap` reverses the order of the registers.
    """

    register: Literal["CoilRegister", "DiscreteInputRegister", "InputRegister", "HoldingRegister"]
    offset: Annotated[int, msgspec.Meta(ge=0, le=ADDRESSES - 1)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_REGISTERS)] = 1
    scale: Decimal = Decimal(1)
    is_swap: bool = False
    is_register_swap: bool = False
    signed: bool = False


class Register(msgspec.Struct, frozen=True):
    """Where a property of model type `type` is: `visitor.limit` registers or one coil. Make it with `register`."""

    type: str
    visitor: Visitor

    @property
    def writable(self) -> bool:
        """Coils and holding registers are."""
        return self.visitor.register in {COIL, HOLDING}

    @property
    def bits(self) -> bool:
        """Whether this is a bit, not a register."""
        return self.visitor.register in {COIL, DISCRETE}

    def nearest(self, value: Value) -> Value:
        """`value` as it reads back. ValueError when these registers cannot hold it."""
        return self.decode(self.encode(value))

    def decode(self, words: Words) -> Value:
        """The value that the registers hold. PropertyError when it is none of the type."""
        if self.bits:
            return bool(words[0])
        data = self._ordered(struct.pack(f">{len(words)}H", *words))
        if self.type == "BOOLEAN":
            return any(data)
        if self.type == "BYTES":
            return data
        if self.type == "STRING":
            try:
                return data.rstrip(b"\0").decode()
            except UnicodeDecodeError as error:
                raise PropertyError(f"holds {data[:16].hex(' ')}, which is no UTF-8 text") from error
        value = EXACT.multiply(_unpack(self._code(), data), self.visitor.scale)
        return Decimal(int(value)) if self.type == "INT" else value

    def encode(self, value: Value) -> list[int]:
        """The registers (or the coil) that hold `value`. ValueError says what could be held instead."""
        if self.bits:
            return [int(bool(value))]
        size = 2 * self.visitor.limit
        if isinstance(value, bool):
            data = value.to_bytes(size, "big")
        elif isinstance(value, Decimal):
            data = self._number(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            if len(data) > size or (isinstance(value, bytes) and len(data) != size):
                raise ValueError(f"{len(data)} bytes; its {self.visitor.limit} registers hold {size}")
        return list(struct.unpack(f">{self.visitor.limit}H", self._ordered(data.ljust(size, b"\0"))))

    def _number(self, value: Decimal) -> bytes:
        code, scale = self._code(), self.visitor.scale
        steps = EXACT.divide(value, scale)
        if code in FLOATS.values():
            return _pack_float(code, steps)
        whole = int(steps.to_integral_value())
        if EXACT.multiply(Decimal(whole), scale) != value:
            raise ValueError(f"{to_text(value)} is no multiple of the scale {to_text(scale)}")
        low, high = _range(code)
        if not low <= whole <= high:
            ends = sorted((EXACT.multiply(Decimal(low), scale), EXACT.multiply(Decimal(high), scale)))
            raise ValueError(f"{to_text(value)} does not fit: its registers hold {to_text(ends[0])} to {to_text(ends[1])}")
        return struct.pack(f">{code}", whole)

    def _code(self) -> str:
        """The number's code of the struct module. A FLOAT or DOUBLE of one register is a scaled integer."""
        if self.type != "INT" and self.visitor.limit in FLOATS:
            return FLOATS[self.visitor.limit]
        code = INTEGERS[self.visitor.limit]
        return code if self.visitor.signed else code.upper()

    def _ordered(self, data: bytes) -> bytes:
        """The bytes in the order that the value has them, or back: it is its own inverse."""
        pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
        if self.visitor.is_register_swap:
            pairs.reverse()
        return b"".join(pair[::-1] for pair in pairs) if self.visitor.is_swap else b"".join(pairs)


def register(type_: str, config: JSON) -> Register:
    """The place of a property from its visitor's configData. InvalidError names every field that is wrong."""
    visitor = convert(config, Visitor)
    causes = [Cause(field, "FieldValueInvalid", message) for field, message in _mistakes(type_, visitor)]
    if causes:
        raise invalid(causes)
    return Register(type_, visitor)


def _mistakes(type_: str, visitor: Visitor) -> list[tuple[str, str]]:
    found = []
    scale, limit = visitor.scale, visitor.limit
    if not scale.is_finite() or not scale or _magnitude(scale) > MAX_SCALE_MAGNITUDE:
        found.append(("scale", f"expected a number other than 0, of at most {MAX_SCALE_MAGNITUDE} digits, got {scale}"))
    if visitor.offset + limit > ADDRESSES:
        found.append(("limit", f"{limit} registers from {visitor.offset} go beyond the last, {ADDRESSES - 1}"))
    if visitor.register in {COIL, DISCRETE}:
        if type_ != "BOOLEAN":
            found.append(("register", f"a {visitor.register} is one bit: its type is BOOLEAN, the model says {type_}"))
        elif limit != 1:
            found.append(("limit", f"expected 1, as a BOOLEAN is one bit, got {limit}"))
    elif type_ in NUMBERS and limit not in INTEGERS:
        found.append(("limit", f"a {type_} is 1, 2 or 4 registers, got {limit}"))
    elif type_ == "BOOLEAN" and limit != 1:
        found.append(("limit", f"expected 1 register for a BOOLEAN, got {limit}"))
    elif type_ == "STREAM":
        found.append(("register", "registers hold no STREAM"))
    elif visitor.register == HOLDING and limit > MAX_WRITTEN:
        found.append(("limit", f"expected at most {MAX_WRITTEN} holding registers, got {limit}"))
    return found


def _magnitude(number: Decimal) -> int:
    return max(len(number.as_tuple().digits), abs(number.adjusted()))


def _range(code: str) -> tuple[int, int]:
    bits = 8 * struct.calcsize(code)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if code.islower() else (0, 2**bits - 1)


def _unpack(code: str, data: bytes) -> Decimal:
    (number,) = struct.unpack(f">{code}", data)
    if code not in FLOATS.values():
        return Decimal(number)
    if number != number or number in {float("inf"), float("-inf")}:  # noqa: PLR0124  NaN is the number unlike itself
        raise PropertyError(f"holds {number}, which is no number")
    return Decimal(repr(number) if code == "d" else _shortest(number, data))


def _shortest(number: float, data: bytes) -> str:
    """The fewest digits that mean this 32-bit float and no other: 21.6, not 21.600000381469727."""
    for digits in range(6, 9):
        short = format(number, f".{digits}g")
        if struct.pack(">f", float(short)) == data:
            return short
    return format(number, ".9g")


def _pack_float(code: str, number: Decimal) -> bytes:
    try:
        data = struct.pack(f">{code}", float(number))
    except OverflowError as error:
        raise ValueError(f"{to_text(number)} is too large for a {8 * struct.calcsize(code)}-bit float") from error
    if struct.unpack(f">{code}", data)[0] in {float("inf"), float("-inf")}:
        raise ValueError(f"{to_text(number)} is too large for a {8 * struct.calcsize(code)}-bit float")
    return data
