import itertools
import json
from typing import Any

from edged.device.bus.news import Newsroom
from edged.model.objects import Key, Object, dump

KEY = Key("devices.devices.kubeedge.io", "default", "thermometer")


class Room:
    def __init__(self, parts: Any, *, external: bool = True) -> None:
        self.parts = parts
        ids = itertools.count(1)
        self.room = Newsroom("gw-a", lambda _: external, lambda: str(next(ids)))

    def told(self, value: dict[str, Any] | None, status: dict[str, Any] | None = None) -> dict[str, Any]:
        obj = None if value is None else Object(KEY, 1, "uid", dump(value), None if status is None else dump(status))
        prefix = ("$hw/events/device/default/thermometer", "$hw/events/node/gw-a")
        found = {}
        for topic, payload in self.room.changed(KEY, obj, 9):
            assert topic.startswith(prefix)
            found[topic.removeprefix(prefix[0]).removeprefix(prefix[1])] = json.loads(payload)
        return found

    def device(self, node: str = "gw-a", labels: dict[str, str] | None = None, **setpoint: Any) -> dict[str, Any]:
        value: dict[str, Any] = self.parts.device_json(node=node, temperature={}, setpoint=setpoint)
        value["metadata"]["labels"] = labels or {}
        return value


def status(temperature: str) -> dict[str, Any]:
    return {"twins": [{"propertyName": "temperature", "reported": {"value": temperature, "metadata": {"timestamp": "5"}}}]}


def test_devices_come_and_go(parts: Any) -> None:
    room = Room(parts)
    came = room.told(room.device())["/membership/updated"]
    assert [each["id"] for each in came["added_devices"]] == ["default/thermometer"]
    assert [each.metadata.name for each in room.room.devices()] == ["thermometer"]
    went = room.told(room.device(node="gw-b"))["/membership/updated"]
    assert [each["id"] for each in went["removed_devices"]] == ["default/thermometer"]
    assert (room.told(None), room.room.keys()) == ({}, set())


def test_what_should_be_is_told_as_delta_and_document(parts: Any) -> None:
    room = Room(parts, external=False)
    room.told(room.device())
    told = room.told(room.device(desired={"value": "21"}))
    assert list(told) == ["/twin/update/delta", "/twin/edge_updated", "/twin/update/document"]
    assert told["/twin/update/delta"]["delta"] == {"setpoint": "21"}
    document = told["/twin/update/document"]["twin"]["setpoint"]
    assert ("expected" in document["last"], document["current"]["expected"]["value"]) == (False, "21")


def test_what_is_told_from_outside_is_a_document_and_readings_of_a_mapper_are_not(parts: Any) -> None:
    room = Room(parts)
    room.told(room.device(), status("20"))
    assert list(room.told(room.device(), status("21"))) == ["/twin/edge_updated", "/twin/update/document"]
    room = Room(parts, external=False)
    room.told(room.device(), status("20"))
    assert room.told(room.device(), status("21")) == {}


def test_labels_are_attributes(parts: Any) -> None:
    room = Room(parts)
    room.told(room.device())
    assert room.told(room.device(labels={"room": "hall"}))["/updated"]["attributes"]["room"]["value"] == "hall"


def test_nothing_changed_nothing_is_told(parts: Any) -> None:
    room = Room(parts)
    room.told(room.device(), status("20"))
    assert room.told(room.device(), status("20")) == {}
