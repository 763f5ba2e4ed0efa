import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.mapper import PropertyError
from edged.device.modbus.registers import Register, decoder
from edged.device.modbus.visitor import register
from edged.model.values import Value


def wire(words: list[int]) -> bytes:
    return struct.pack(f">{len(words)}H", *words)


def holding(type_: str, **more: Any) -> Register:
    return register(type_, {"register": "HoldingRegister", "offset": 0, **more})


@pytest.mark.parametrize(
    ("type_", "config", "words", "value"),
    [
        ("INT", {}, [65535], Decimal(65535)),
        ("INT", {"signed": True}, [65535], Decimal(-1)),
        ("INT", {"limit": 2}, [0x0001, 0x0002], Decimal(0x00010002)),
        ("INT", {"limit": 2, "isRegisterSwap": True}, [0x0001, 0x0002], Decimal(0x00020001)),
        ("INT", {"limit": 2, "isSwap": True}, [0x0001, 0x0002], Decimal(0x01000200)),
        ("INT", {"limit": 2, "isSwap": True, "isRegisterSwap": True}, [0x0001, 0x0002], Decimal(0x02000100)),
        ("INT", {"limit": 4}, [0xFFFF] * 4, Decimal(2**64 - 1)),
        ("INT", {"limit": 4, "signed": True}, [0x8000, 0, 0, 0], Decimal(-(2**63))),
        ("INT", {"scale": 0.1}, [219], Decimal(21)),  # as KubeEdge: an INT is whole
        ("INT", {"scale": 0.1, "signed": True}, [0xFFFF - 218], Decimal(-21)),
        ("FLOAT", {"scale": 0.1}, [219], Decimal("21.9")),
        ("FLOAT", {"scale": "0.001", "signed": True}, [0xFFFF], Decimal("-0.001")),
        ("FLOAT", {"limit": 2}, [0x41AC, 0xCCCD], Decimal("21.6")),
        ("FLOAT", {"limit": 2, "isRegisterSwap": True}, [0xCCCD, 0x41AC], Decimal("21.6")),
        ("FLOAT", {"limit": 2, "scale": 10}, [0x41AC, 0xCCCD], Decimal(216)),
        ("DOUBLE", {"limit": 4}, list(struct.unpack(">4H", struct.pack(">d", 0.1))), Decimal("0.1")),
        ("INT", {"limit": 3}, [0x0001, 0, 2], Decimal(2**32 + 2)),
        ("INT", {"dataType": "int32"}, [0xFFFF, 0xFFFE], Decimal(-2)),
        ("FLOAT", {"dataType": "uint32", "scale": "0.01"}, [1, 0], Decimal("655.36")),
        ("FLOAT", {"dataType": "int32", "order": "CDAB", "scale": 0.1}, [0xFFFF, 0xFFFF], Decimal("-0.1")),
        ("FLOAT", {"dataType": "float16"}, [0x3E66], Decimal("1.6")),
        ("FLOAT", {"dataType": "float32", "order": "CDAB"}, [0xCCCD, 0x41AC], Decimal("21.6")),
        ("FLOAT", {"dataType": "float32", "order": "DCBA"}, [0xCDCC, 0xAC41], Decimal("21.6")),
        ("FLOAT", {"dataType": "float32", "order": "BADC"}, [0xAC41, 0xCDCC], Decimal("21.6")),
        ("DOUBLE", {"dataType": "float64"}, [0x4035, 0x9999, 0x9999, 0x999A], Decimal("21.6")),
        ("INT", {"dataType": "float32"}, [0x41AC, 0xCCCD], Decimal(21)),
        ("FLOAT", {"scale": "0.1", "valueOffset": "-40"}, [615], Decimal("21.5")),
        ("INT", {"valueOffset": 1000}, [7], Decimal(1007)),
        ("BOOLEAN", {"bit": 0}, [0x0001], True),
        ("BOOLEAN", {"bit": 0}, [0x8000], False),
        ("BOOLEAN", {"bit": 15}, [0x8000], True),
        ("BOOLEAN", {"bit": 7, "isSwap": True}, [0x8000], True),
        ("BOOLEAN", {}, [0], False),
        ("BOOLEAN", {}, [1], True),
        ("STRING", {"limit": 3}, [0x4142, 0x4300, 0], "ABC"),
        ("STRING", {"limit": 2, "isSwap": True}, [0x4241, 0x0043], "ABC"),
        ("BYTES", {"limit": 2}, [0x0001, 0xFF00], b"\x00\x01\xff\x00"),
    ],
)
def test_registers_as_values(type_: str, config: dict[str, Any], words: list[int], value: Value) -> None:
    found = decoder(holding(type_, **config))(wire(words))
    assert (found, type(found)) == (value, type(value))


def test_scale_is_exact() -> None:
    point = holding("FLOAT", limit=1, scale="0.1")
    assert [str(decoder(point)(wire([n]))) for n in (1, 3, 7)] == ["0.1", "0.3", "0.7"]
    assert str(decoder(holding("INT", limit=4, scale=3))(b"\xff" * 8)) == str(3 * (2**64 - 1))


swaps = st.fixed_dictionaries({"isSwap": st.booleans(), "isRegisterSwap": st.booleans()})
scales = st.decimals(min_value="0.000001", max_value=1000, places=6).filter(bool)


@given(st.data(), swaps, st.sampled_from([1, 2, 3, 4]), st.booleans())
def test_integers_go_round(data: st.DataObject, config: dict[str, Any], limit: int, signed: bool) -> None:
    words = data.draw(st.lists(st.integers(0, 65535), min_size=limit, max_size=limit))
    point = holding("INT", limit=limit, signed=signed, scale=data.draw(st.integers(1, 1000)), **config)
    assert point.encode(decoder(point)(wire(words))) == wire(words)


@given(st.integers(0, 65535), st.booleans(), scales, swaps)
def test_scaled_registers_go_round(word: int, signed: bool, scale: Decimal, config: dict[str, Any]) -> None:
    point = holding("DOUBLE", signed=signed, scale=str(scale), **config)
    assert point.encode(decoder(point)(wire([word]))) == wire([word])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), swaps)
def test_floats_go_round(number: float, config: dict[str, Any]) -> None:
    point = holding("FLOAT", limit=2, **config)
    value = point.nearest(Decimal(number))
    assert isinstance(value, Decimal)
    assert struct.unpack(">f", struct.pack(">f", float(value))) == (number,)
    assert point.nearest(value) == value


@given(st.floats(allow_nan=False, allow_infinity=False), swaps)
def test_doubles_go_round(number: float, config: dict[str, Any]) -> None:
    assert holding("DOUBLE", limit=4, **config).nearest(Decimal(repr(number))) == Decimal(repr(number))


@given(st.text(max_size=10).map(lambda text: text.rstrip("\0")), swaps)
def test_strings_go_round(text: str, config: dict[str, Any]) -> None:
    assert holding("STRING", limit=20, **config).nearest(text) == text


@given(st.binary(min_size=6, max_size=6), swaps)
def test_bytes_go_round(data: bytes, config: dict[str, Any]) -> None:
    assert holding("BYTES", limit=3, **config).nearest(data) == data


@given(st.integers(0, 65535), st.integers(-1000, 1000), scales)
def test_a_value_offset_goes_round(word: int, offset: int, scale: Decimal) -> None:
    point = holding("DOUBLE", scale=str(scale), valueOffset=offset)
    assert point.encode(decoder(point)(wire([word]))) == wire([word])


@given(st.integers(0, 65535), st.integers(0, 15), st.booleans(), st.booleans())
def test_a_bit_is_written_without_the_others(word: int, bit: int, swap: bool, value: bool) -> None:
    point = holding("BOOLEAN", bit=bit, isSwap=swap)
    written = bytes(old & keep | new for old, keep, new in zip(wire([word]), point.mask, point.encode(value), strict=True))
    assert decoder(point)(written) is value
    others = [holding("BOOLEAN", bit=each, isSwap=swap) for each in range(16) if each != bit]
    assert [decoder(each)(written) for each in others] == [decoder(each)(wire([word])) for each in others]


@given(st.booleans(), swaps)
def test_booleans_go_round(value: bool, config: dict[str, Any]) -> None:
    assert holding("BOOLEAN", **config).nearest(value) is value
    coil = register("BOOLEAN", {"register": "CoilRegister", "offset": 9})
    assert coil.encode(value) == bytes([value])
    assert coil.nearest(value) is value


@pytest.mark.parametrize(
    ("type_", "config", "value", "said"),
    [
        ("INT", {}, Decimal(65536), "65536 does not fit: its registers hold 0 to 65535"),
        ("INT", {"signed": True, "scale": -2}, Decimal(-65536), "its registers hold -65534 to 65536"),
        ("FLOAT", {"scale": 0.1}, Decimal("21.55"), "21.55 is no multiple of the scale 0.1"),
        ("INT", {"scale": 2, "valueOffset": 1}, Decimal(4), "4 is no multiple of the scale 2 and 1"),
        ("FLOAT", {"dataType": "float16"}, Decimal(70000), "too large for a 16-bit float"),
        ("FLOAT", {"limit": 2}, Decimal("1e39"), "too large for a 32-bit float"),
        ("DOUBLE", {"limit": 4}, Decimal("1e309"), "too large for a 64-bit float"),
        ("STRING", {"limit": 1}, "ABC", "3 bytes; its 1 registers hold 2"),
        ("BYTES", {"limit": 2}, b"AB", "2 bytes; its 2 registers hold 4"),
    ],
)
def test_what_does_not_fit_is_refused(type_: str, config: dict[str, Any], value: Value, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        holding(type_, **config).nearest(value)


@pytest.mark.parametrize(
    ("type_", "config", "words", "said"),
    [
        ("FLOAT", {"limit": 2}, [0x7FC0, 0], "nan"),
        ("FLOAT", {"limit": 2}, [0x7F80, 0], "inf"),
        ("DOUBLE", {"limit": 4}, [0xFFF0, 0, 0, 0], "-inf"),
        ("FLOAT", {"dataType": "float16"}, [0x7E00], "nan"),
        ("STRING", {"limit": 1}, [0xFFFE], "ff fe, which is no UTF-8"),
    ],
)
def test_what_is_no_value_is_said(type_: str, config: dict[str, Any], words: list[int], said: str) -> None:
    with pytest.raises(PropertyError, match=said):
        decoder(holding(type_, **config))(wire(words))


@given(st.sampled_from(["INT", "FLOAT", "DOUBLE", "STRING", "BYTES"]), st.sampled_from([1, 2, 4]), st.data())
def test_any_registers_are_a_value_or_none(type_: str, limit: int, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.integers(0, 65535), min_size=limit, max_size=limit))
    point = holding(type_, limit=limit)
    try:
        value = decoder(point)(wire(words))
    except PropertyError:
        return
    assert point.nearest(value) == value


def test_what_can_be_written() -> None:
    kinds = ("CoilRegister", "DiscreteInputRegister", "InputRegister", "HoldingRegister")
    assert [register("BOOLEAN", {"register": kind, "offset": 0}).writable for kind in kinds] == [True, False, False, True]
