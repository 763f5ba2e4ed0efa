from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asyncua import ua

from edged.device.mapper import PropertyError, Sample
from edged.device.opcua.variants import found, natural, value, variant

Type = ua.VariantType
GUID = UUID(int=7)


@pytest.mark.parametrize(
    ("type_", "held", "variant_type", "expected"),
    [
        ("BOOLEAN", True, Type.Boolean, True),
        ("BOOLEAN", 4, Type.Byte, True),
        ("INT", True, Type.Boolean, Decimal(1)),
        ("INT", 2.0, Type.Double, Decimal(2)),
        ("INT", 1 << 63, Type.UInt64, Decimal(1 << 63)),
        ("INT", "12", Type.String, Decimal(12)),
        ("FLOAT", 21.600000381469727, Type.Float, Decimal("21.6")),
        ("DOUBLE", 0.1, Type.Double, Decimal("0.1")),
        ("STRING", -5, Type.Int16, "-5"),
        ("STRING", True, Type.Boolean, "true"),
        ("STRING", b"\x01", Type.ByteString, "01"),
        ("STRING", GUID, Type.Guid, str(GUID)),
        ("STRING", ua.QualifiedName("x", 2), Type.QualifiedName, "x"),
        ("STRING", ua.LocalizedText(None), Type.LocalizedText, ""),
        ("STRING", ua.NodeId("x", 2), Type.NodeId, "ns=2;s=x"),
        ("STRING", ua.StatusCode(0x80340000), Type.StatusCode, "BadNodeIdUnknown"),
        ("STRING", datetime(2026, 1, 2, tzinfo=UTC), Type.DateTime, "2026-01-02T00:00:00Z"),
        ("BYTES", b"\x01", Type.ByteString, b"\x01"),
    ],
)
def test_scalars(type_: str, held: Any, variant_type: Any, expected: Any) -> None:
    assert value(type_, ua.Variant(held, variant_type)) == expected


@pytest.mark.parametrize(
    ("type_", "held", "variant_type", "words"),
    [
        ("INT", 2.5, Type.Double, "holds 2.5, which is no whole number"),
        ("INT", "x", Type.String, "holds a text: expected a number"),
        ("FLOAT", float("nan"), Type.Float, "holds nan, which is no number"),
        ("BYTES", 7, Type.Byte, "holds a Byte, which is no BYTES"),
        ("INT", b"x", Type.ByteString, "holds a ByteString, which is no INT"),
        ("INT", [1], Type.Int32, "holds 1 values"),
        ("INT", None, Type.Null, "holds no value"),
        ("STRING", ua.Argument(), Type.ExtensionObject, "holds a ExtensionObject, which is no single value"),
    ],
)
def test_what_is_no_value(type_: str, held: Any, variant_type: Any, words: str) -> None:
    with pytest.raises(PropertyError, match=words):
        value(type_, ua.Variant(held, variant_type))


def test_times_and_states() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    held = ua.Variant(7, Type.Int32)
    assert found("INT", ua.DataValue(held, SourceTimestamp=now)) == Sample(Decimal(7), now.timestamp())
    assert found("INT", ua.DataValue(held, ServerTimestamp=now.replace(tzinfo=None))) == Sample(Decimal(7), now.timestamp())
    assert found("INT", ua.DataValue(held, SourceTimestamp=datetime(1601, 1, 1, tzinfo=UTC))) == Sample(Decimal(7), None)
    assert found("INT", ua.DataValue(held, StatusCode=ua.StatusCode(0x40900000))) == Sample(Decimal(7))  # uncertain
    assert found("INT", ua.DataValue(held, StatusCode=ua.StatusCode(0x480))) == Sample(Decimal(7), None, gap=True)  # overflow
    bad = found("INT", ua.DataValue(held, StatusCode=ua.StatusCode(0x808B0000)))
    assert isinstance(bad, PropertyError)
    assert "(BadDeviceFailure)" in str(bad)
    assert isinstance(found("INT", ua.DataValue()), PropertyError)


@pytest.mark.parametrize(
    ("given_", "type_", "held"),
    [
        (Decimal(7), Type.Byte, 7),
        (Decimal("21.6"), Type.Float, 21.6),
        (Decimal(1), Type.Boolean, True),
        (True, Type.Int16, 1),
        ("x", Type.String, "x"),
        (Decimal("1.50"), Type.String, "1.5"),
        ("x", Type.LocalizedText, ua.LocalizedText("x")),
        (b"\x01", Type.ByteString, b"\x01"),
        (str(GUID), Type.Guid, GUID),
        ("2026-01-02T00:00:00Z", Type.DateTime, datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_written(given_: Any, type_: Any, held: Any) -> None:
    made = variant(given_, type_)
    assert (made.Value, made.VariantType) == (held, type_)


@pytest.mark.parametrize(
    ("given_", "type_", "words"),
    [
        (Decimal(256), Type.Byte, "256 is no whole number from 0 to 255"),
        (Decimal("1.5"), Type.Int32, "1.5 is no whole number"),
        (Decimal("1e39"), Type.Float, "is too large"),
        (Decimal("1e309"), Type.Double, "is too large"),
        ("x", Type.Double, "expected a number"),
        ("x", Type.Guid, "badly formed"),
        (Decimal(2), Type.Boolean, "expected true or false"),
        ("x", Type.NodeId, "nothing can be written to it"),
    ],
)
def test_what_a_type_does_not_hold(given_: Any, type_: Any, words: str) -> None:
    with pytest.raises(PropertyError, match=words):
        variant(given_, type_)


def test_results_of_methods() -> None:
    assert natural(ua.Variant(2.5, Type.Double)) == Decimal("2.5")
    assert natural(ua.Variant([1, 2], Type.Int32)) == "1,2"
    assert natural(ua.Variant()) == ""
