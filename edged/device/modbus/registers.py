"""Modbus registers and coils as values of a model: types, scale, byte and register order, both ways and exact."""

import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import msgspec

from edged.device.floats import FORMATS, exact
from edged.device.mapper import PropertyError
from edged.model.values import EXACT, Value, to_text

Area = Literal["CoilRegister", "DiscreteInputRegister", "InputRegister", "HoldingRegister"]
Coding = Literal["int", "uint", "float", ""]

COIL: Area = "CoilRegister"
DISCRETE: Area = "DiscreteInputRegister"
INPUT: Area = "InputRegister"
HOLDING: Area = "HoldingRegister"
BIT_AREAS = (COIL, DISCRETE)
MAX_REGISTERS = 125  # registers in one answer (Modbus Application Protocol 1.1b3, section 6.3)
MAX_BITS = 2000  # coils or discrete inputs in one answer (section 6.1)
MAX_WRITTEN = 123  # registers in one write (section 6.12)
ADDRESSES = 65536

ONE, ZERO = Decimal(1), Decimal(0)

Decode = Callable[[bytes], Value]


class Register(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a property of model type `type` is, and what it means: `count` registers from `offset`, or one coil.

    A number is `coding` times `scale` plus `value_offset`. `bit` is the one that is meant in a register, None: all of it.
    """

    type: str
    area: Area
    offset: int
    count: int = 1
    coding: Coding = ""
    scale: Decimal = ONE
    value_offset: Decimal = ZERO
    swap: bool = False
    register_swap: bool = False
    bit: int | None = None

    @property
    def writable(self) -> bool:
        """Coils and holding registers are."""
        return self.area in {COIL, HOLDING}

    @property
    def bits(self) -> bool:
        """Whether this is a coil or discrete input, not a register."""
        return self.area in BIT_AREAS

    def nearest(self, value: Value) -> Value:
        """`value` as it reads back. ValueError when these registers cannot hold it."""
        return decoder(self)(self.encode(value))

    def encode(self, value: Value) -> bytes:
        """What holds `value`: the bytes of the registers, of a coil one byte, 0 or 1; of a bit its register without others.

        ValueError says what could be held instead.
        """
        if self.bits:
            return bytes([bool(value)])
        if self.bit is not None:
            return self._ordered((bool(value) << self.bit).to_bytes(2, "big"))
        size = 2 * self.count
        if isinstance(value, bool):
            data = value.to_bytes(size, "big")
        elif isinstance(value, Decimal):
            data = self._number(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            if len(data) > size or (isinstance(value, bytes) and len(data) != size):
                raise ValueError(f"{len(data)} bytes; its {self.count} registers hold {size}")
        return self._ordered(data.ljust(size, b"\0"))

    @property
    def mask(self) -> bytes:
        """The bits of its register that are not `bit`, as they are on the wire."""
        return self._ordered((0xFFFF ^ (1 << (self.bit or 0))).to_bytes(2, "big"))

    def _number(self, value: Decimal) -> bytes:
        steps = EXACT.divide(EXACT.subtract(value, self.value_offset), self.scale)
        if self.coding == "float":
            return _pack_float(2 * self.count, steps)
        whole = int(steps.to_integral_value())
        if self._scaled(Decimal(whole)) != value:
            plus = f" and {to_text(self.value_offset)}" if self.value_offset else ""
            raise ValueError(f"{to_text(value)} is no multiple of the scale {to_text(self.scale)}{plus}")
        bits = 16 * self.count
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if self.coding == "int" else (0, 2**bits - 1)
        if not low <= whole <= high:
            ends = sorted((self._scaled(Decimal(low)), self._scaled(Decimal(high))))
            raise ValueError(f"{to_text(value)} does not fit: its registers hold {to_text(ends[0])} to {to_text(ends[1])}")
        return whole.to_bytes(2 * self.count, "big", signed=self.coding == "int")

    def _scaled(self, number: Decimal) -> Decimal:
        return EXACT.add(EXACT.multiply(number, self.scale), self.value_offset)

    def _ordered(self, data: bytes) -> bytes:
        """The bytes in the order that the value has them, or back: it is its own inverse."""
        if self.swap and self.register_swap:
            return data[::-1]
        if self.swap or self.register_swap:
            pairs = [data[at : at + 2] for at in range(0, len(data), 2)]
            return b"".join(reversed(pairs)) if self.register_swap else b"".join(pair[::-1] for pair in pairs)
        return data


def decoder(place: Register) -> Decode:
    """Makes values of the bytes of a place, as `Register.encode` has them. PropertyError: they are no value of its type."""
    decode = _decode_number(place) if place.coding else _decode_other(place)
    if not (place.swap or place.register_swap):
        return decode
    ordered = place._ordered  # noqa: SLF001  a part of the place
    return lambda data: decode(ordered(data))


def _decode_other(place: Register) -> Decode:
    if place.bit is not None:
        mask = 1 << place.bit
        return lambda data: bool(int.from_bytes(data, "big") & mask)
    if place.type == "BOOLEAN":
        return any
    return bytes if place.type == "BYTES" else _text


def _text(data: bytes) -> str:
    try:
        return data.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise PropertyError(f"holds {data[:16].hex(' ')}, which is no UTF-8 text") from error


def _decode_number(place: Register) -> Decode:
    raw = _decode_float if place.coding == "float" else _signed if place.coding == "int" else _unsigned
    scaled = raw if (place.scale, place.value_offset) == (ONE, ZERO) else _scaling(raw, place.scale, place.value_offset)
    if place.type == "INT" and (place.coding == "float" or scaled is not raw):
        return lambda data: Decimal(int(scaled(data)))
    return scaled


def _scaling(raw: Callable[[bytes], Decimal], scale: Decimal, offset: Decimal) -> Callable[[bytes], Decimal]:
    if offset:
        return lambda data: EXACT.add(EXACT.multiply(raw(data), scale), offset)
    return lambda data: EXACT.multiply(raw(data), scale)


def _unsigned(data: bytes) -> Decimal:
    return Decimal(int.from_bytes(data, "big"))


def _signed(data: bytes) -> Decimal:
    return Decimal(int.from_bytes(data, "big", signed=True))


def _decode_float(data: bytes) -> Decimal:
    (number,) = struct.unpack(FORMATS[len(data)], data)
    return exact(number, len(data))


def _pack_float(size: int, number: Decimal) -> bytes:
    code = FORMATS[size]
    try:
        data = struct.pack(code, float(number))
    except OverflowError as error:
        raise ValueError(f"{to_text(number)} is too large for a {8 * size}-bit float") from error
    if math.isinf(struct.unpack(code, data)[0]):
        raise ValueError(f"{to_text(number)} is too large for a {8 * size}-bit float")
    return data
