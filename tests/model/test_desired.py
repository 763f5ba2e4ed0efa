from typing import Any

import msgspec
import pytest

from edged.model.desired import desired, refused
from edged.model.devices import Device, DeviceModel, ModelProperty
from edged.model.values import to_text

PROPERTY = {"name": "t", "type": "INT", "accessMode": "ReadWrite", "minimum": "-5", "maximum": "80"}


def prop(**changes: str) -> ModelProperty:
    return msgspec.convert({**PROPERTY, **changes}, ModelProperty)


@pytest.mark.parametrize(
    ("changes", "text", "means"),
    [
        ({}, "-5", "-5"),
        ({}, "80.0", "80"),
        ({"type": "FLOAT", "maximum": "0.3"}, "0.3", "0.3"),
        ({"type": "BOOLEAN"}, "1", "true"),
        ({"type": "STRING"}, "999", "999"),
        ({"minimum": "", "maximum": ""}, "100000", "100000"),
    ],
)
def test_what_a_model_takes(changes: dict[str, str], text: str, means: str) -> None:
    assert to_text(desired(prop(**changes), text)) == means


@pytest.mark.parametrize(
    ("changes", "text", "why"),
    [
        ({}, "81", "81 is over its maximum 80"),
        ({}, "-6", "-6 is under its minimum -5"),
        ({}, "1.5", 'expected a whole number, got "1.5"'),
        ({"type": "BOOLEAN"}, "on", 'expected true or false, got "on"'),
        ({"type": "STREAM"}, "x", "cannot be written as text"),
        ({"accessMode": "ReadOnly"}, "1", "accessMode ReadOnly"),
    ],
)
def test_what_a_model_refuses(changes: dict[str, str], text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        desired(prop(**changes), text)


def device(**desired: str) -> Device:
    properties: list[Any] = [{"name": name, "desired": {"value": text}} for name, text in desired.items()]
    value = {"apiVersion": "a/v1", "kind": "Device", "metadata": {"name": "d"}, "spec": {"properties": properties}}
    return msgspec.convert(value, Device)


def test_only_what_is_new_is_refused() -> None:
    spec = {"properties": [PROPERTY, {**PROPERTY, "name": "u"}]}
    value = {"apiVersion": "a/v1", "kind": "DeviceModel", "metadata": {"name": "m"}, "spec": spec}
    model = msgspec.convert(value, DeviceModel)
    (cause,) = refused(device(t="", u="90"), model, None)
    assert (cause.field, cause.message) == (
        "spec.properties[1].desired.value",
        'Invalid value: "90": 90 is over its maximum 80',
    )
    assert list(refused(device(t="7", u="90"), model, device(u="90"))) == []
    assert len(list(refused(device(t="91", u="90"), model, device(u="91")))) == 2
    assert list(refused(device(unknown="x"), model, None)) == []
