"""Variants of OPC UA (Part 6, 5.1) as values of a model, and back; StatusCodes in words."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from asyncua import ua

from edged.device.floats import exact
from edged.device.mapper import Found, PropertyError, Sample
from edged.model.values import NUMBERS, Value, decimal, from_text, to_text

Type = ua.VariantType  # the library is not followed by the type checker: to it this is Any
INTEGERS = {  # variant type: bits, signed
    Type.SByte: (8, True),
    Type.Byte: (8, False),
    Type.Int16: (16, True),
    Type.UInt16: (16, False),
    Type.Int32: (32, True),
    Type.UInt32: (32, False),
    Type.Int64: (64, True),
    Type.UInt64: (64, False),
}
FLOATS = {Type.Float: 3.4028235677973366e38, Type.Double: float("inf")}  # the first that no longer fits
OVERFLOW = 0x480  # the bits of a StatusCode that say so: the server's queue did not hold all values (Part 4, 7.39.1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def words(status: ua.StatusCode) -> str:
    """A StatusCode as the specification describes it, with its name."""
    return f"{status.doc.rstrip('.')} ({status.name})" if status.doc else status.name


def found(type_: str, data: ua.DataValue) -> Found:
    """A DataValue as a model type, with the time of its source, else the server's. A bad status is a PropertyError."""
    try:
        if data.StatusCode is not None and data.StatusCode.is_bad():
            return PropertyError(f"has no value: {words(data.StatusCode)}")
        time = data.SourceTimestamp or data.ServerTimestamp
        gap = data.StatusCode is not None and data.StatusCode.value & OVERFLOW == OVERFLOW
        return Sample(value(type_, data.Value), None if time is None else _seconds(time), gap)
    except PropertyError as error:
        return error


def _seconds(time: datetime) -> float | None:
    """Seconds since 1970; None before, which no source means."""
    seconds = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH).total_seconds()
    return seconds if seconds > 0 else None


def value(type_: str, variant: ua.Variant | None) -> Value:
    """A variant as a model type. PropertyError: it is none of the type."""
    held = None if variant is None else variant.Value
    if variant is None or held is None:
        raise PropertyError("holds no value")
    if isinstance(held, list):
        raise PropertyError(f"holds {len(held)} values; a property is one")
    plain = _plain(variant.VariantType, held)
    if type_ == "STRING":
        return plain if isinstance(plain, str) else to_text(plain)
    if type_ == "BYTES" and isinstance(plain, bytes):
        return plain
    if type_ == "BOOLEAN" and isinstance(plain, bool | Decimal):
        return bool(plain)
    if type_ in NUMBERS and isinstance(plain, bool | Decimal):
        number = Decimal(plain)
        if type_ == "INT" and number != number.to_integral_value():
            raise PropertyError(f"holds {to_text(number)}, which is no whole number")
        return number
    if type_ in {*NUMBERS, "BOOLEAN"} and isinstance(plain, str):
        try:
            return from_text(type_, plain)
        except ValueError as error:
            raise PropertyError(f"holds a text: {error}") from error
    raise PropertyError(f"holds a {variant.VariantType.name}, which is no {type_}")


def natural(variant: ua.Variant) -> Value:
    """A variant as what it is by itself: the result of a method. PropertyError: no value of a model is like it."""
    if variant.Value is None:
        return ""
    if isinstance(variant.Value, list):
        return ",".join(to_text(_plain(variant.VariantType, each)) for each in variant.Value)
    return _plain(variant.VariantType, variant.Value)


_TEXTS: dict[Any, Callable[[Any], str]] = {
    Type.String: str,
    Type.XmlElement: str,
    Type.Guid: str,
    Type.DateTime: lambda time: (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat().replace("+00:00", "Z"),
    Type.LocalizedText: lambda text: text.Text or "",
    Type.QualifiedName: lambda name: name.Name or "",
    Type.NodeId: lambda node: node.to_string(),
    Type.ExpandedNodeId: lambda node: node.to_string(),
    Type.StatusCode: lambda status: status.name,
}


def _plain(type_: Any, held: Any) -> Value:
    """A scalar as a value of ours, whatever the model says."""
    if type_ in INTEGERS:
        return Decimal(int(held))
    if type_ in FLOATS:
        return exact(held, 4 if type_ == Type.Float else 8)
    if type_ == Type.Boolean:
        return bool(held)
    if type_ == Type.ByteString:
        return bytes(held)
    if type_ in _TEXTS:
        return _TEXTS[type_](held)
    raise PropertyError(f"holds a {type_.name}, which is no single value")


def variant(value: Value, type_: Any) -> ua.Variant:
    """A value as a variant of the node's type. PropertyError: the type cannot hold it."""
    try:
        return ua.Variant(_held(value, type_), type_)
    except ValueError as error:
        raise PropertyError(f"is a {type_.name}, which does not hold it: {error}") from error


def _held(value: Value, type_: Any) -> Any:
    if type_ == Type.Boolean:
        return value if isinstance(value, bool) else from_text("BOOLEAN", _text(value))
    if type_ in INTEGERS:
        return _whole(value, type_)
    if type_ in FLOATS:
        number = float(_number(value))
        if abs(number) >= FLOATS[type_]:
            raise ValueError(f"{_text(value)} is too large")
        return number
    if type_ == Type.ByteString:
        return value if isinstance(value, bytes) else _text(value).encode()
    makers: dict[Any, Callable[[str], Any]] = {
        Type.String: str,
        Type.LocalizedText: ua.LocalizedText,
        Type.Guid: UUID,
        Type.DateTime: datetime.fromisoformat,
    }
    if type_ not in makers:
        raise ValueError("nothing can be written to it")
    return makers[type_](_text(value))


def _whole(value: Value, type_: Any) -> int:
    bits, signed = INTEGERS[type_]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    number = _number(value)
    if number != number.to_integral_value() or not low <= number <= high:
        raise ValueError(f"{_text(value)} is no whole number from {low} to {high}")
    return int(number)


def _number(value: Value) -> Decimal:
    return Decimal(value) if isinstance(value, bool | Decimal) else decimal(_text(value))


def _text(value: Value) -> str:
    return to_text(value)
