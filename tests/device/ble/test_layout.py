from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.ble.layout import CODES, address, field, whole
from edged.device.mapper import PropertyError
from edged.errors import InvalidError

UUID = {"characteristicUUID": "2A6E"}
TYPES = ("INT", "FLOAT", "DOUBLE", "BOOLEAN", "STRING", "BYTES")


@pytest.mark.parametrize(
    ("type_", "config", "data", "value"),
    [
        ("FLOAT", {"type": "int16", "scale": "0.01"}, "6e08", Decimal("21.58")),
        ("FLOAT", {"type": "uint16", "order": "big", "scale": "0.005", "add": "-40"}, "00002710", Decimal(-40)),
        ("FLOAT", {"type": "uint16", "order": "big", "offset": 2, "scale": "0.005", "add": "-40"}, "00002710", Decimal(10)),
        ("FLOAT", {"type": "float32"}, "cdccac41", Decimal("21.6")),
        ("INT", {"type": "uint64"}, "ff" * 8, Decimal((1 << 64) - 1)),
        ("INT", {}, "07ff", Decimal(7)),
        ("INT", {"length": 3, "order": "big"}, "010000", Decimal(65536)),
        ("BOOLEAN", {"type": "uint8", "offset": 1}, "0001", True),
        ("STRING", {}, "67616e6700", "gang"),
        ("STRING", {"offset": 1, "length": 2}, "67616e67", "an"),
        ("BYTES", {"offset": 1}, "0102", b"\x02"),
    ],
)
def test_decoded(type_: str, config: dict[str, Any], data: str, value: Any) -> None:
    assert field(type_, UUID | config).decode(bytes.fromhex(data)) == value


def test_kubeedges_converter() -> None:
    steps = [{"operationType": "Multiply", "operationValue": "0.03125"}, {"operationType": "Add", "operationValue": 1}]
    config = {"dataConverter": {"startIndex": 3, "endIndex": 2, "shiftRight": 2, "orderOfOperations": steps}}
    found = field("FLOAT", UUID | config)  # the infrared thermometer of a SensorTag
    assert found.decode(bytes.fromhex("0000a00c")) == Decimal(0x0CA0 >> 2) * Decimal("0.03125") + 1
    assert not found.writable
    thirds = {"dataConverter": {"orderOfOperations": [{"operationType": "Divide", "operationValue": 3}]}}
    assert field("FLOAT", UUID | thirds).decode(b"\x01") == Decimal("0.333333333333333")


def test_kubeedges_words() -> None:
    lamp = field("STRING", UUID | {"dataWrite": {"ON": [1], "OFF": [0]}})
    assert lamp.writable
    assert (lamp.encode("on"), lamp.decode(b"\x01"), lamp.nearest("OFF")) == (b"\x01", "ON", "OFF")
    with pytest.raises(ValueError, match="dim is none of ON, OFF"):
        lamp.nearest("dim")


def test_encoded() -> None:
    setpoint = field("FLOAT", UUID | {"type": "int16", "scale": "0.5"})
    assert setpoint.encode(Decimal("21.5")) == b"\x2b\0"
    for value, words in (("21.3", "no multiple of the scale 0.5"), ("99999", "does not fit a int16 of the scale 0.5")):
        with pytest.raises(ValueError, match=words):
            setpoint.nearest(Decimal(value))
    with pytest.raises(ValueError, match="5 bytes; it holds 4"):
        field("STRING", UUID | {"length": 4}).encode("Küche"[:4])
    assert not field("INT", UUID | {"type": "uint8", "offset": 1}).writable
    assert not field("INT", {"manufacturer": 0x0499, "type": "uint8"}).writable


FUZZED = 50_000
SCALES = ({}, {"scale": "0.01"}, {"scale": "-1e30", "add": "1e-30"}, {"scale": "123456789012345678901234567890"})
STEPS = [{"operationType": kind, "operationValue": "-3e-30"} for kind in ("Multiply", "Add", "Divide", "Subtract")]
CONVERTERS = (
    {"startIndex": 3, "endIndex": 2, "shiftRight": 2, "orderOfOperations": STEPS[:2]},
    {"startIndex": 0, "endIndex": 511, "shiftLeft": 64, "orderOfOperations": STEPS * 3},
)


def layouts() -> list[Any]:
    """Fields of every kind."""
    numbers = [
        ({"type": kind, "offset": offset, "order": order} | scale, type_)
        for kind in CODES
        for offset in (0, 1, 511)
        for order in ("little", "big")
        for scale in SCALES
        for type_ in ("INT", "DOUBLE", "BOOLEAN", "STRING")
    ]
    plain = [({"offset": at, "length": size}, type_) for at in (0, 511) for size in (1, 8, 512) for type_ in TYPES]
    words = [({"dataWrite": {"ON": [1], "OFF": [0, 0]}}, type_) for type_ in TYPES]
    converted = [({"dataConverter": each}, type_) for each in CONVERTERS for type_ in ("INT", "FLOAT", "BOOLEAN", "STRING")]
    return [field(type_, UUID | config) for config, type_ in numbers + plain * 10 + words * 10 + converted * 20]


def test_fifty_thousand_values_of_a_hostile_device() -> None:
    random, fields, refused = Random(7), layouts(), 0
    for _ in range(FUZZED):
        made, data = random.choice(fields), random.randbytes(random.choice((0, 1, 2, 4, 8, 20, 512)))
        try:
            assert isinstance(made.decode(data), bool | Decimal | str | bytes)
        except PropertyError as error:
            assert str(error)
            refused += 1
    assert 0 < refused < FUZZED


@given(st.binary(max_size=20), st.sampled_from(sorted(CODES)), st.integers(0, 8), st.sampled_from(["INT", "FLOAT", "BOOLEAN"]))
def test_any_bytes(data: bytes, kind: str, offset: int, type_: str) -> None:
    try:
        field(type_, UUID | {"type": kind, "offset": offset}).decode(data)
    except PropertyError:
        assert len(data) < offset + 8 or kind.startswith("float")


@pytest.mark.parametrize(
    ("type_", "config", "words"),
    [
        ("INT", {}, "characteristicUUID: expected one of characteristicUUID, manufacturer, serviceData and rssi"),
        ("INT", {"characteristicUUID": "2a6e", "rssi": True}, "characteristicUUID: expected one of"),
        ("INT", {"characteristicUUID": "2a6"}, "characteristicUUID: expected a UUID"),
        ("INT", UUID | {"type": "int24"}, "type: expected one of uint8"),
        ("BYTES", UUID | {"type": "uint8"}, "type: BYTES are bytes as they come"),
        ("STREAM", UUID, "has no STREAM"),
        ("INT", UUID | {"scale": 0}, "scale: expected a number other than 0"),
        ("INT", UUID | {"add": "1e99"}, "scale: expected a number"),
        ("INT", UUID | {"dataConverter": {"orderOfOperations": [{"operationType": "Divide", "operationValue": 0}]}}, "reckon"),
        ("INT", UUID | {"offset": 512}, "offset: "),
    ],
)
def test_mistakes(type_: str, config: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        field(type_, config)


def test_addresses() -> None:
    assert address({"macAddress": "aa:bb:cc:dd:ee:01"}).mac_address == "AA:BB:CC:DD:EE:01"
    assert address({"service": "181A"}).service == whole("181a")
    assert str(address({"name": "kitchen"})) == "Bluetooth device kitchen"
    for config in ({}, {"macAddress": "x"}, {"name": "a", "macAddress": "AA:BB:CC:DD:EE:01"}, {"service": "zz"}):
        with pytest.raises(InvalidError):
            address(config)
