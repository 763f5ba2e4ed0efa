"""`edged device` at one of two real daemons, of a device that the other serves."""

import json
from typing import Any

import msgspec
import pytest

from edged.cli.device import changes, news, tables
from edged.model.devices import Device

NOW = 1_764_000_100.0
TWINS = [
    {"propertyName": "power", "reported": {"value": "12.5", "metadata": {"timestamp": "1764000000000"}}},
    {
        "propertyName": "limit",
        "reported": {"value": "5", "metadata": {"timestamp": "1764000099000"}},
        "observedDesired": {"value": "5"},
    },
]


def device(**status: Any) -> Device:
    spec = {"deviceModelRef": {"name": "m"}, "properties": [{"name": "power"}, {"name": "limit", "desired": {"value": "6"}}]}
    value = {"apiVersion": "a/v1", "kind": "Device", "metadata": {"name": "meter", "namespace": "plant"}, "spec": spec}
    return msgspec.convert({**value, "status": {"state": "online", "twins": TWINS, **status}}, Device)


def test_a_device_in_words() -> None:
    wrong = [
        {"type": "Connected", "status": "True"},
        {"type": "ReadingsValid", "status": "False", "reason": "NotAsModelled", "message": "no"},
    ]
    facts, properties = tables(device(conditions=wrong), {"power": "kW"}, NOW)
    assert ("device", "plant/meter") in facts.rows
    assert ("node", "none") in facts.rows
    assert facts.rows[-1] == ("ReadingsValid", "NotAsModelled: no")
    assert properties.rows == [("power", "12.5", "kW", "100s", ""), ("limit", "5", "", "1s", "6 (not applied)")]


def test_what_is_to_be_changed() -> None:
    assert changes(device(), {"limit": "7"}) == [
        {"op": "test", "path": "/spec/properties/1/name", "value": "limit"},
        {"op": "add", "path": "/spec/properties/1/desired", "value": {"value": "7"}},
    ]
    bare = msgspec.convert({"apiVersion": "a/v1", "kind": "Device"}, Device)
    added = {"op": "add", "path": "/spec/properties/-", "value": {"name": "limit", "desired": {"value": "7"}}}
    assert changes(bare, {"limit": "7"}) == [{"op": "add", "path": "/spec/properties", "value": []}, added]
    assert changes(device(), {"other": "7"})[0]["path"] == "/spec/properties/-"


def test_only_news_are_told() -> None:
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    first = list(news(device(), seen, as_json=False))
    assert [line.split("  ", 1)[1] for line in first] == [
        "plant/meter  is online",
        "plant/meter  power  12.5",
        "plant/meter  limit  5",
    ]
    assert list(news(device(), seen, as_json=False)) == []
    (line,) = news(device(state="offline"), seen, as_json=True)
    assert json.loads(line) == {"device": "plant/meter", "state": "offline"}


def test_devices_are_listed(gateways: Any) -> None:
    ended = gateways("ls")
    head, row = ended.stdout.splitlines()
    assert head.split() == ["DEVICE", "STATE", "NODE", "PROTOCOL", "LAST", "SEEN"]
    assert row.split()[:4] == ["boiler", "ok", gateways.there, "virtual"]
    assert ended.returncode == 0
    (found,) = json.loads(gateways("ls", "--json").stdout)
    assert (found["name"], found["state"], found["node"]) == ("boiler", "ok", gateways.there)


def test_a_device_is_shown_and_set(gateways: Any, failed: Any) -> None:
    ended = gateways("set", "boiler", "setpoint=61.5")
    assert (ended.stdout, ended.returncode) == ("setpoint is 61.5\n", 0)
    shown = gateways("get", "boiler")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert next(row for row in rows if row[0] == "setpoint")[-2:] == ["61.5", "(applied)"]
    assert next(row for row in rows if row[0] == "temperature")[2] == "°C"
    assert gateways("set", "boiler", "setpoint=61.50").stdout == "setpoint is 61.50\n"  # which is what it is
    assert json.loads(gateways("get", "boiler", "--json").stdout)["kind"] == "Device"
    failed(gateways("set", "boiler", "setpoint=90"), 2, "90 is over its maximum 80")
    failed(gateways("set", "boiler", "setpoint"), 2, 'expected PROPERTY=VALUE, got "setpoint"')
    failed(gateways("get", "kettle"), 1, 'devices.devices.kubeedge.io "kettle" not found')


def test_a_device_is_called_at_its_node(gateways: Any, failed: Any) -> None:
    ended = gateways("call", "boiler", "Heat", "setpoint=70")
    assert (ended.stdout, ended.returncode) == ("setpoint is 70\n", 0)
    assert json.loads(gateways("call", "boiler", "Heat", "71", "--json").stdout) == {"values": {"setpoint": "71"}}
    failed(gateways("call", "boiler", "Heat", "29"), 2, "setpoint: 29 is under its minimum 30")
    failed(gateways("call", "boiler", "Boil"), 2, 'device "boiler" has no method "Boil"; it has: Heat')


@pytest.mark.parametrize("name", [["boiler"], []])
def test_values_are_watched(gateways: Any, name: list[str]) -> None:
    lines = [json.loads(line) for line in gateways.lines(6, "watch", *name, "--json")]
    assert lines[0] == {"device": "boiler", "state": "ok"}
    values = [int(line["value"]) for line in lines if line.get("property") == "temperature"]
    assert len(values) >= 2
    assert values == sorted(set(values))
