from typing import Any

import msgspec

from edged.model.devices import Device, DeviceModel


def test_a_device(device: dict[str, Any]) -> None:
    spec = msgspec.convert(device, Device).spec
    assert (spec.device_model_ref.name, spec.node_name, spec.protocol.protocol_name) == ("thermometer", "gw-a", "modbus")
    assert spec.protocol.config_data["port"] == 5020
    temperature = spec.properties[0]
    assert (temperature.desired.value, temperature.collect_cycle, temperature.report_cycle) == ("21", 500, 1000)


def test_its_twins() -> None:
    status = {"twins": [{"propertyName": "t", "reported": {"value": "20", "metadata": {"timestamp": "1"}}}], "state": "online"}
    found = msgspec.convert({"apiVersion": "a/v1", "kind": "Device", "status": status}, Device).status
    assert (found.twins[0].reported.value, found.twins[0].observed_desired.value, found.state) == ("20", "", "online")


def test_a_model() -> None:
    spec = {"properties": [{"name": "t", "type": "INT", "accessMode": "ReadWrite", "minimum": "0"}]}
    found = msgspec.convert({"apiVersion": "a/v1", "kind": "DeviceModel", "spec": spec}, DeviceModel).spec.properties[0]
    assert (found.type, found.access_mode, found.minimum, found.maximum) == ("INT", "ReadWrite", "0", "")
