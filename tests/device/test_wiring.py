from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from edged.device.mapper import Mappers
from edged.device.modbus.registers import decoder
from edged.device.wiring import Desired, Wiring, meaning, wire
from edged.model.devices import Device, DeviceModel

EXAMPLE = Path(__file__).parents[2] / "packaging" / "examples" / "thermometer.yaml"


@pytest.fixture
def wired(parts: Any) -> Callable[..., Wiring]:
    mappers = Mappers(Path())

    def make(model: Any = None, **properties: Any) -> Wiring:
        return wire(parts.device(**properties), model or parts.model(), mappers.find)

    return make


def test_a_sound_device(wired: Callable[..., Wiring]) -> None:
    found = wired(temperature={"collectCycle": 500}, setpoint={"desired": {"value": "21.50"}})
    assert found.problems == ()
    temperature, setpoint = found.properties
    assert (temperature.name, temperature.collect_s, temperature.report_s, temperature.desired) == (
        "temperature",
        0.5,
        0.1,
        None,
    )
    assert (setpoint.minimum, setpoint.maximum) == (Decimal(5), Decimal(30))
    assert setpoint.desired == Desired("21.50", Decimal("21.5"))
    assert found == wired(temperature={"collectCycle": 500}, setpoint={"desired": {"value": "21.50"}})


def test_a_missing_model(parts: Any) -> None:
    found = wire(parts.device(), None, Mappers(Path()).find)
    assert found == Wiring(None, None, (), ('spec.deviceModelRef.name: there is no DeviceModel "default/thermometer"',))


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ({"protocolName": "opc"}, 'spec.protocol.protocolName: "opc" is no protocol that this node speaks'),
        ({"configData": {"ip": "a", "prot": 1}}, "spec.protocol.configData.prot: is unknown; did you mean port?"),
        (
            {"configData": {"ip": "a", "port": 0}},
            "spec.protocol.configData.port: expected a whole number from 1 to 65535, got 0",
        ),
        ({"configData": {"ip": ""}}, "spec.protocol.configData.ip: expected an IP address"),
        ({"configData": {"serialPort": "ttyS0"}}, "spec.protocol.configData.serialPort: expected the path of a device"),
        ({"configData": {}}, "spec.protocol.configData.ip: is missing"),
    ],
)
def test_a_device_that_cannot_be_found(parts: Any, protocol: dict[str, Any], said: str) -> None:
    found = wire(parts.device(protocol=protocol), parts.model(), Mappers(Path()).find)
    assert (found.mapper, found.properties) == (None, ())
    assert found.problems[0].startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"visitors": {"configData": {"register": "Foo", "offset": 0}}}, "visitors.configData.register: expected one of"),
        ({"visitors": {"configData": {"register": "HoldingRegister"}}}, "visitors.configData.offset: is missing"),
        ({"visitors": {"protocolName": "ble"}}, 'visitors.protocolName: "ble" is not the device\'s protocol, "modbus-tcp"'),
        ({"name": "humidity"}, 'name: the DeviceModel thermometer has no property "humidity"'),
        ({"name": "temperature"}, 'name: "temperature" is wired twice'),
        ({"collectCycle": 0}, "collectCycle: expected at least 10 ms, got 0"),
        ({"reportCycle": -1}, "reportCycle: expected at least 10 ms, got -1"),
    ],
)
def test_a_mistake_costs_its_property_alone(wired: Callable[..., Wiring], change: dict[str, Any], said: str) -> None:
    found = wired(temperature={}, setpoint=change)
    assert [each.name for each in found.properties] == ["temperature"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"spec.properties[1].{said}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "float"}, 'the DeviceModel says type "float": expected one of INT, FLOAT'),
        ({"minimum": "cold"}, "the DeviceModel's minimum: expected a number"),
    ],
)
def test_a_mistake_of_the_model(wired: Callable[..., Wiring], parts: Any, change: dict[str, str], said: str) -> None:
    model = parts.model(lambda value: value["spec"]["properties"][1].update(change))
    found = wired(model, temperature={}, setpoint={})
    assert [each.name for each in found.properties] == ["temperature"]
    assert found.problems[0].startswith(f"spec.properties[1].name: {said}")


@pytest.mark.parametrize(
    ("name", "value", "visitor", "said"),
    [
        ("temperature", "20", {}, "the DeviceModel says accessMode ReadOnly"),
        ("setpoint", "20", {"register": "InputRegister"}, "the device takes no writes there"),
        ("setpoint", "4", {}, "4 is under its minimum 5"),
        ("setpoint", "30.5", {}, "30.5 is over its maximum 30"),
        ("setpoint", "warm", {}, 'expected a number, got "warm"'),
        ("setpoint", "20.05", {}, "20.05 is no multiple of the scale 0.1"),
        ("heating", "on", {"scale": 1}, 'expected true or false, got "on"'),
    ],
)
def test_a_desired_value_that_is_not_written(
    wired: Callable[..., Wiring], parts: Any, name: str, value: str, visitor: dict[str, Any], said: str
) -> None:
    found = wired(**{name: {"desired": {"value": value}, "visitors": parts.visitor(0, **visitor)}})
    assert found.problems == ()
    assert found.properties[0].desired is None
    assert found.refused()[0].startswith(f"{name}: {said}")


def test_the_meaning_of_a_text(wired: Callable[..., Wiring]) -> None:
    setpoint = wired(setpoint={}).properties[0]
    assert meaning(setpoint, "21.50") == Decimal("21.5")
    assert meaning(setpoint, "") is None
    assert meaning(setpoint, "21.55") is None


def test_the_example_is_sound() -> None:
    model, device = yaml.safe_load_all(EXAMPLE.read_text())
    found = wire(msgspec.convert(device, Device), msgspec.convert(model, DeviceModel), Mappers(Path()).find)
    assert (found.problems, found.refused()) == ((), [])
    assert [each.name for each in found.properties] == ["temperature", "setpoint"]
    assert decoder(found.properties[0].point)(b"\xff\xff") == Decimal("-0.1")
    assert found.properties[1].desired == Desired("21", Decimal(21))


def test_a_model_may_have_the_places(parts: Any) -> None:
    def place(model: dict[str, Any]) -> None:
        model["spec"]["protocolConfigData"] = {"ip": "192.0.2.1", "port": 5020}
        for at, each in enumerate(model["spec"]["properties"][:2]):
            each["visitors"] = parts.visitor(at)

    value = parts.device_json(protocol={"configData": {"port": 5021}})
    value["spec"]["properties"] = []
    found = wire(msgspec.convert(value, Device), parts.model(place), Mappers(Path()).find)
    assert found.problems == ()
    assert [each.name for each in found.properties] == ["temperature", "setpoint"]
    assert (found.address.line.ip, found.address.line.port) == ("192.0.2.1", 5021)
    value["spec"]["properties"] = [{"name": "setpoint", "visitors": {"configData": {"offset": 9}}}]
    setpoint, other = wire(msgspec.convert(value, Device), parts.model(place), Mappers(Path()).find).properties
    assert (setpoint.point.offset, setpoint.point.scale) == (9, Decimal("0.1"))
    assert other.name == "temperature"

    def misplace(model: dict[str, Any]) -> None:
        place(model)
        model["spec"]["properties"][0]["visitors"]["configData"]["register"] = "Shelf"

    (problem,) = wire(msgspec.convert(value, Device), parts.model(misplace), Mappers(Path()).find).problems
    assert problem.startswith("the DeviceModel's temperature.visitors.configData.register: expected one of")


def test_how_often_the_state_is_reported(parts: Any) -> None:
    value = parts.device_json()
    for report, seconds in (({}, 0.0), ({"reportCycle": 60000}, 60.0), ({"reportCycle": 1, "reportToCloud": False}, 0.0)):
        value["spec"]["stateReport"] = report
        assert wire(msgspec.convert(value, Device), parts.model(), Mappers(Path()).find).refresh_s == seconds


@pytest.mark.parametrize(("name", "devices"), [("modbus-tcp", 1), ("modbus-rtu", 2)])
def test_the_examples_of_modbus_are_sound(name: str, devices: int) -> None:
    objects = list(yaml.safe_load_all((EXAMPLE.parent / f"{name}.yaml").read_text()))
    assert len(objects) == 2 * devices
    for model, device in zip(objects[::2], objects[1::2], strict=True):
        found = wire(msgspec.convert(device, Device), msgspec.convert(model, DeviceModel), Mappers(Path()).find)
        assert (found.problems, found.refused()) == ((), [])
        assert [each.name for each in found.properties] == [each["name"] for each in model["spec"]["properties"]]


README = Path(__file__).parents[2] / "README.md"


def test_the_meter_of_the_page_on_connecting_a_device(parts: Any) -> None:
    """It is what the page says, in no more lines than it promises."""
    page = README.read_text().partition("## Connect a device")[2].partition("\n## ")[0]
    text = "\n".join(line[4:] for line in page.splitlines() if line.startswith("    "))
    manifest = text[text.index("apiVersion") : text.index("$ edged")].rstrip()
    model, device = yaml.safe_load_all(manifest)
    assert len(manifest.partition("---\n")[2].splitlines()) == 7
    found = wire(msgspec.convert(device, Device), msgspec.convert(model, DeviceModel), Mappers(Path()).find)
    assert (found.problems, [each.name for each in found.properties]) == ((), ["power"])
    documents = list(yaml.safe_load_all((EXAMPLE.parent / "modbus.yaml").read_text()))
    assert documents[1] == device
    whole = wire(msgspec.convert(documents[1], Device), msgspec.convert(documents[0], DeviceModel), Mappers(Path()).find)
    assert (whole.problems, [each.name for each in whole.properties]) == ((), ["power", "limit"])
