from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edged.device.dmi import speech
from edged.device.dmi.messages import CLASSES
from edged.model.devices import Device, DeviceStatus, Twin, TwinValue


def test_a_device_and_its_model_as_a_mapper_gets_them(parts: Any) -> None:
    reported = TwinValue("20.5", {"timestamp": "5", "type": "float"})
    status = DeviceStatus((Twin("temperature", reported),))
    it: Device = msgspec.structs.replace(parts.device(setpoint={"desired": {"value": "22"}}), status=status)
    found = CLASSES["Device"].FromString(speech.device(it, status=True).SerializeToString())
    assert (found.name, found.namespace, found.spec.deviceModelReference) == ("thermometer", "default", "thermometer")
    assert found.spec.protocol.protocolName == "modbus-tcp"
    assert set(found.spec.protocol.configData.data) == {"ip", "port"}
    (setpoint,) = found.spec.properties
    assert (setpoint.name, setpoint.desired.value, setpoint.collectCycle) == ("setpoint", "22", 100)
    assert set(setpoint.visitors.configData.data) == {"register", "offset", "scale"}
    assert (found.status.twins[0].reported.value, dict(found.status.twins[0].reported.metadata)) == (
        "20.5",
        {"timestamp": "5", "type": "float"},
    )
    other = msgspec.structs.replace(it, status=DeviceStatus())
    assert speech.device(it, status=False) == speech.device(other, status=False) != speech.device(it, status=True)
    model = speech.model(parts.model())
    assert [each.name for each in model.spec.properties] == ["temperature", "setpoint", "heating", "serial"]
    assert (model.spec.properties[1].accessMode, model.spec.properties[1].maximum) == ("ReadWrite", "30")


def twin(name: str, value: str, **metadata: str) -> Any:
    return CLASSES["Twin"](propertyName=name, reported={"value": value, "metadata": metadata})


def test_what_a_mapper_says() -> None:
    found = list(speech.said([twin("t", "1", timestamp="1700000000000"), twin("u", "2"), twin("v", "3", timestamp="later")]))
    assert found == [
        speech.Said("t", "1", 1700000000000),
        speech.Said("u", "2", None),
        speech.Said("v", "3", None),
    ]


@given(st.text())
def test_any_timestamp_is_a_time_or_none(text: str) -> None:
    try:
        said = twin("t", "1", timestamp=text)
    except UnicodeEncodeError:
        return
    (found,) = speech.said([said])
    assert found.time is None or 0 <= found.time < speech.MAX_TIME
