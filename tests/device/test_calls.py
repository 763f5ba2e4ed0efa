from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.device.calls import MAX_ARGUMENTS, Call, argument, prepared
from edged.device.mapper import Mappers
from edged.device.wiring import wire
from edged.errors import InvalidError, NotFoundError
from edged.model.devices import Device

METHODS = [
    {"name": "Set", "propertyNames": ["setpoint", "heating"]},
    {"name": "Warm", "propertyNames": ["setpoint"]},
    {"name": "Read", "propertyNames": ["temperature"]},
    {"name": "Lost", "propertyNames": ["gone"]},
    {"name": "Reset"},
]


def call(parts: Any, method: str, *arguments: str, model: bool = True) -> Call:
    heating = {"visitors": {"protocolName": "modbus-tcp", "configData": {"register": "CoilRegister", "offset": 0}}}
    value = parts.device_json(temperature={}, setpoint={}, heating=heating)
    value["spec"]["methods"] = METHODS
    device, known = msgspec.convert(value, Device), parts.model() if model else None
    return prepared(device, known, wire(device, parts.model(), Mappers(Path()).find), method, arguments)


def test_a_method_writes_values_in_the_order_of_its_arguments(parts: Any) -> None:
    made = call(parts, "Set", "heating=true", "setpoint=21.5")
    assert [(wired.name, value) for wired, value in made.writes] == [("heating", True), ("setpoint", Decimal("21.5"))]
    assert [value for _, value in call(parts, "Warm", "22").writes] == [Decimal(22)]
    assert [value for _, value in call(parts, "Warm", "setpoint=22").writes] == [Decimal(22)]


def test_a_method_of_the_mappers_own(parts: Any) -> None:
    assert call(parts, "Reset") == Call("Reset")
    assert call(parts, "Reset", "1", "a=b", "false").arguments == (Decimal(1), "a=b", False)
    assert (argument("0"), argument("true"), argument("x1"), argument("1e999")) == (Decimal(0), True, "x1", "1e999")


@pytest.mark.parametrize(
    ("method", "arguments", "says"),
    [
        ("Set", [], "method Set takes values: setpoint=VALUE heating=VALUE"),
        ("Set", ["21"], '"21": method Set takes setpoint=VALUE heating=VALUE'),
        ("Set", ["other=1"], "method Set takes"),
        ("Warm", ["31"], "setpoint: 31 is over its maximum 30"),
        ("Warm", ["hot"], 'setpoint: expected a number, got "hot"'),
        ("Warm", ["21.55"], "setpoint: 21.55 is no multiple of the scale 0.1"),
        ("Read", ["1"], "temperature: the DeviceModel says accessMode ReadOnly"),
        ("Lost", ["1"], "gone: the device has no such property"),
        ("Reset", ["x"] * (MAX_ARGUMENTS + 1), "at most 64"),
    ],
)
def test_what_a_method_does_not_take(parts: Any, method: str, arguments: list[str], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        call(parts, method, *arguments)


def test_a_method_that_is_not_there(parts: Any) -> None:
    with pytest.raises(NotFoundError, match='device "thermometer" has no method "Open"; it has: Set, Warm, Read, Lost, Reset'):
        call(parts, "Open")
    with pytest.raises(InvalidError, match="setpoint: the device has no such property"):
        call(parts, "Warm", "21", model=False)
