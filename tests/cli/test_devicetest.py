from pathlib import Path
from typing import Any

import pytest

from edged.cli.devicetest import documents
from edged.errors import InvalidError
from edged.model.devices import Device, DeviceModel
from tests.cli.conftest import BOILER


def test_the_documents_of_a_manifest() -> None:
    model, device = documents(f"# a boiler\n---{BOILER}---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}}}\n")
    assert isinstance(model, DeviceModel)
    assert isinstance(device, Device)
    for text, says in (
        ("kind: Thing", "manifest 1 is of no kind that is known here"),
        (f"{BOILER}\n---\n[]", "manifest 3 is of no kind"),
        (BOILER.replace("FLOAT", "FLAOT", 1), 'manifest 1: spec.properties\\[0\\].type: Unsupported value: "FLAOT"'),
        (BOILER.replace("collectCycle: 100", "collectCycle: fast", 1), "manifest 2: spec.properties\\[0\\].collectCycle"),
    ):
        with pytest.raises(InvalidError, match=says):
            documents(text)


def test_a_device_is_tried_by_its_manifest_with_no_daemon(edged: Any, tmp_path: Path) -> None:
    (tmp_path / "boiler.yaml").write_text(BOILER)
    ended = edged("device", "test", "boiler.yaml")
    assert [line.split() for line in ended.stdout.splitlines()] == [
        ["PROPERTY", "VALUE", "UNIT"],
        ["temperature", "20", "°C"],
        ["setpoint", "50"],
    ]
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_wrong_with_a_device_is_said(edged: Any, failed: Any, tmp_path: Path) -> None:
    bad = BOILER.replace('value: "50"', 'value: "20"')
    bad = bad.replace("    - {name: setpoint, coll", "    - {name: pressure}\n    - {name: setpoint, coll")
    (tmp_path / "bad.yaml").write_text(bad)
    ended = edged("device", "test", "bad.yaml")
    assert ended.returncode == 3
    assert "under its minimum 30" in ended.stdout
    assert 'degraded: spec.properties[1].name: the DeviceModel boiler has no property "pressure"' in ended.stderr
    modbus = BOILER.replace("protocolName: virtual}", "protocolName: modbus-tcp, configData: {ip: 127.0.0.1, port: 1}}")
    modbus = modbus.replace("kind: counter, start: 20", "register: HoldingRegister, offset: 1")
    modbus = modbus.replace('kind: constant, value: "50"', "register: HoldingRegister, offset: 2")
    (tmp_path / "away.yaml").write_text(modbus)
    failed(edged("device", "test", "away.yaml"), 4, "127.0.0.1")
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    failed(edged("device", "test", "none.yaml"), 2, "expected one Device, found 0")


def test_a_stored_device_is_tried_from_here(gateways: Any) -> None:
    ended = gateways("test", "boiler")
    assert "temperature  20" in ended.stdout
    assert f"node {gateways.there} reads this device already" in ended.stderr
    assert ended.returncode == 0
