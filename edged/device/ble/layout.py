"""Where a Bluetooth LE device is, and how its bytes hold values, from configData. Pure.

Two spellings of a layout: ours (`offset`, `type`, `order`, `scale`, `add`), and KubeEdge's `dataConverter` and `dataWrite`.
"""

import re
import struct
from decimal import Context, Decimal
from typing import Annotated, Literal

import msgspec

from edged.device.configdata import convert, invalid
from edged.device.floats import exact
from edged.device.mapper import PropertyError
from edged.errors import Cause
from edged.model.meta import JSON
from edged.model.values import EXACT, NUMBERS, Value, to_text

MAX_BYTES = 512  # of a characteristic's value (Core 5.4, 3.F 3.2.9)
MAC = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")
UUID = re.compile(r"[0-9a-f]{4}|[0-9a-f]{8}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BASE = "-0000-1000-8000-00805f9b34fb"  # a short UUID is one of these (3.B 2.5.1)
CODES = {"uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q"}
CODES |= {"float32": "f", "float64": "d"}

DIVIDED = Context(prec=15)  # a quotient may have no end; a double has as many digits

Index = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES - 1)]
Shift = Annotated[int, msgspec.Meta(ge=0, le=64)]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`spec.protocol.configData` of a device: one of `macAddress` (KubeEdge's), `name` and `service`.

    A `beacon` is not connected to: its advertisements say all. `timeout` in seconds: to find it, to connect, to answer.
    `pair`: once, as far as that needs nobody to read or type a number; BlueZ keeps the keys.
    """

    mac_address: str = ""
    name: str = ""
    service: str = ""
    beacon: bool = False
    pair: bool = False
    adapter: str = ""
    timeout: Annotated[float, msgspec.Meta(ge=0.1, le=120)] = 20.0

    def __str__(self) -> str:
        return f"Bluetooth device {self.mac_address or self.name or self.service}"


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """KubeEdge's: one step of arithmetic."""

    operation_type: Literal["Add", "Subtract", "Multiply", "Divide"]
    operation_value: Decimal


class Converter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """KubeEdge's: the bytes from `startIndex` to `endIndex` (downwards when that is less) are a number; shift, then reckon."""

    start_index: Index = 0
    end_index: Index = 0
    shift_left: Shift = 0
    shift_right: Shift = 0
    order_of_operations: tuple[Operation, ...] = ()


class Visitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`visitors.configData` of a property: which bytes (a characteristic's, or an advertisement's), and what they mean."""

    characteristic: str = msgspec.field(name="characteristicUUID", default="")
    manufacturer: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] | None = None
    service_data: str = ""
    rssi: bool = False
    offset: Index = 0
    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_BYTES)] | None = None
    type: str = ""
    order: Literal["little", "big"] = "little"
    scale: Decimal = Decimal(1)
    add: Decimal = Decimal(0)
    data_converter: Converter | None = None
    data_write: dict[str, tuple[Byte, ...]] = {}


class Field(msgspec.Struct, frozen=True):
    """Where a property of model type `type` is. Make it with `field`. UUIDs are whole."""

    type: str
    visitor: Visitor

    def __hash__(self) -> int:
        return hash((self.type, self.visitor.characteristic, self.visitor.offset))

    @property
    def writable(self) -> bool:
        """The whole value of a characteristic is written: what begins within one is not."""
        visitor = self.visitor
        return bool(visitor.characteristic) and (
            bool(visitor.data_write) or (not visitor.offset and not visitor.data_converter)
        )

    def nearest(self, value: Value) -> Value:
        """`value` as it reads back. ValueError when these bytes cannot hold it."""
        data = self.encode(value)
        return value if self.visitor.data_write else self.decode(data)

    def decode(self, data: bytes) -> Value:
        """The value that these bytes hold. PropertyError: they hold none of the type."""
        if self.visitor.data_write and (found := self._named(data)) is not None:
            return found
        if self.visitor.data_converter is not None:
            return self._typed(_converted(self.visitor.data_converter, data))
        visitor = self.visitor
        if visitor.type not in CODES:
            end = None if visitor.length is None else visitor.offset + visitor.length
            return self._plain(data[visitor.offset : end])
        size = struct.calcsize(CODES[visitor.type])
        held = data[visitor.offset : visitor.offset + size]
        if len(held) < size:
            raise PropertyError(f"holds {len(data)} bytes; its {visitor.type} ends at {visitor.offset + size}")
        (number,) = struct.unpack(self._code(), held)
        raw = exact(number, size) if visitor.type.startswith("float") else Decimal(number)
        return self._typed(EXACT.add(EXACT.multiply(raw, visitor.scale), visitor.add))

    def encode(self, value: Value) -> bytes:
        """The bytes that say `value`. ValueError says what could be said instead."""
        visitor = self.visitor
        if visitor.data_write:
            named = {name.lower(): data for name, data in visitor.data_write.items()}
            if to_text(value).lower() not in named:
                raise ValueError(f"{to_text(value)} is none of {', '.join(visitor.data_write)}")
            return bytes(named[to_text(value).lower()])
        if visitor.type not in CODES:
            data = value if isinstance(value, bytes) else to_text(value).encode()
            if visitor.length is not None and len(data) > visitor.length:
                raise ValueError(f"{len(data)} bytes; it holds {visitor.length}")
            return data
        number = Decimal(value) if isinstance(value, bool | Decimal) else None
        if number is None:
            raise ValueError(f"{to_text(value)} is no number")
        raw = EXACT.divide(EXACT.subtract(number, visitor.add), visitor.scale)
        try:
            if visitor.type.startswith("float"):
                return struct.pack(self._code(), float(raw))
            if raw != raw.to_integral_value():
                raise ValueError(f"{to_text(value)} is no multiple of the scale {to_text(visitor.scale)}")
            return struct.pack(self._code(), int(raw))
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{to_text(value)} does not fit a {visitor.type} of the scale {to_text(visitor.scale)}") from error

    def signal(self, rssi: int) -> Value:
        """The strength of the signal, in dBm."""
        return self._typed(Decimal(rssi))

    def _named(self, data: bytes) -> Value | None:
        for name, known in self.visitor.data_write.items():
            if bytes(known) == data:
                return name if self.type == "STRING" else None
        return None

    def _code(self) -> str:
        return ("<" if self.visitor.order == "little" else ">") + CODES[self.visitor.type]

    def _typed(self, number: Decimal) -> Value:
        if self.type == "BOOLEAN":
            return bool(number)
        if self.type == "STRING":
            return to_text(number)
        return Decimal(int(number)) if self.type == "INT" else number

    def _plain(self, data: bytes) -> Value:
        if self.type == "BYTES":
            return data
        if self.type == "STRING":
            try:
                return data.rstrip(b"\0").decode()
            except UnicodeDecodeError as error:
                raise PropertyError(f"holds {data[:16].hex(' ')}, which is no UTF-8 text") from error
        return self._typed(Decimal(int.from_bytes(data, self.visitor.order)))


def _converted(converter: Converter, data: bytes) -> Decimal:
    start, end = converter.start_index, converter.end_index
    if max(start, end) >= len(data):
        raise PropertyError(f"holds {len(data)} bytes; its value ends at {max(start, end) + 1}")
    held = data[start : end + 1] if start <= end else data[end : start + 1][::-1]
    number = Decimal((int.from_bytes(held, "big") << converter.shift_left) >> converter.shift_right)
    for step in converter.order_of_operations:
        by = step.operation_value
        if step.operation_type == "Add":
            number = EXACT.add(number, by)
        elif step.operation_type == "Subtract":
            number = EXACT.subtract(number, by)
        elif step.operation_type == "Multiply":
            number = EXACT.multiply(number, by)
        else:
            number = DIVIDED.divide(number, by)
    return number


def address(config: JSON) -> Address:
    """Where a device is. InvalidError names every field that is wrong."""
    found = convert(config, Address)
    found = msgspec.structs.replace(found, mac_address=found.mac_address.upper())
    causes = []
    if sum(map(bool, (found.mac_address, found.name, found.service))) != 1:
        causes.append(Cause("macAddress", "FieldValueInvalid", "expected one of macAddress, name and service"))
    if found.mac_address and not MAC.fullmatch(found.mac_address):
        causes.append(Cause("macAddress", "FieldValueInvalid", f"expected AA:BB:CC:DD:EE:FF, got {found.mac_address!r}"))
    if found.service and whole(found.service) is None:
        causes.append(Cause("service", "FieldValueInvalid", f"expected a UUID, got {found.service!r}"))
    if causes:
        raise invalid(causes)
    return msgspec.structs.replace(found, service=whole(found.service) or "")


def field(type_: str, config: JSON) -> Field:
    """Where a property is. InvalidError names every field that is wrong."""
    visitor = convert(config, Visitor)
    causes = [Cause(at, "FieldValueInvalid", message) for at, message in _mistakes(type_, visitor)]
    if causes:
        raise invalid(causes)
    characteristic, service_data = whole(visitor.characteristic) or "", whole(visitor.service_data) or ""
    made = Field(type_, msgspec.structs.replace(visitor, characteristic=characteristic, service_data=service_data))
    if made.visitor.type or visitor.data_converter or type_ not in NUMBERS:
        return made
    return Field(type_, msgspec.structs.replace(made.visitor, length=visitor.length or 1))  # one byte, unless it is said


def _mistakes(type_: str, visitor: Visitor) -> list[tuple[str, str]]:
    found = []
    sources = [visitor.characteristic, visitor.manufacturer is not None, visitor.service_data, visitor.rssi]
    if sum(map(bool, sources)) != 1:
        found.append(("characteristicUUID", "expected one of characteristicUUID, manufacturer, serviceData and rssi"))
    for name, uuid in (("characteristicUUID", visitor.characteristic), ("serviceData", visitor.service_data)):
        if uuid and whole(uuid) is None:
            found.append((name, f"expected a UUID such as 2a6e or 00002a6e{BASE}, got {uuid[:40]!r}"))
    if visitor.type and visitor.type not in CODES:
        found.append(("type", f"expected one of {', '.join(CODES)}, got {visitor.type[:40]!r}"))
    if visitor.type in CODES and type_ == "BYTES":
        found.append(("type", "BYTES are bytes as they come: leave it out"))
    if type_ == "STREAM":
        found.append(("type", "Bluetooth LE has no STREAM"))
    if not visitor.scale or not _sound(visitor.scale) or not _sound(visitor.add):
        found.append(("scale", "expected a number other than 0, of at most 30 digits"))
    steps = visitor.data_converter.order_of_operations if visitor.data_converter is not None else ()
    for at, step in enumerate(steps):
        if not _sound(step.operation_value) or (step.operation_type == "Divide" and not step.operation_value):
            found.append(
                (f"dataConverter.orderOfOperations[{at}].operationValue", "expected a number that can be reckoned with")
            )
    return found


def _sound(number: Decimal) -> bool:
    return number.is_finite() and max(len(number.as_tuple().digits), abs(number.adjusted())) <= 30


def whole(uuid: str) -> str | None:
    """A UUID in full, in lower case; None when it is none."""
    lower = uuid.lower()
    if not UUID.fullmatch(lower):
        return None
    return lower if len(lower) == 36 else lower.rjust(8, "0") + BASE
