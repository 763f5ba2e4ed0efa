import json
from contextlib import aclosing
from typing import Any

import pytest

from edged.api.views import shown, source
from edged.model.kinds import BY_RESOURCE
from edged.model.objects import Key, Object, dump

DEVICES, STATUSES = BY_RESOURCE["devices.devices.kubeedge.io"], BY_RESOURCE["devicestatuses.devices.kubeedge.io"]
PATH = "/apis/devices.kubeedge.io/v1beta1"
HERE = f"{PATH}/namespaces/default"
DEVICE = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "Device",
    "metadata": {"name": "boiler", "labels": {"floor": "1"}, "annotations": {"note": "x"}},
    "spec": {"deviceModelRef": {"name": "boiler"}, "protocol": {"protocolName": "modbus-tcp"}},
}
TWINS = {"state": "ok", "twins": [{"propertyName": "t", "reported": {"value": "20"}}]}


def test_a_view_of_an_object() -> None:
    obj = Object(Key(DEVICES.resource, "default", "boiler"), 7, "u1", dump(DEVICE), dump(TWINS))
    assert (source(DEVICES), source(STATUSES)) == (DEVICES.resource, DEVICES.resource)
    assert shown(DEVICES, obj) is obj
    view = shown(STATUSES, obj)
    assert (view.key, view.rv, view.status) == (Key(STATUSES.resource, "default", "boiler"), 7, obj.status)
    body = json.loads(view.body)
    assert (body["kind"], body["metadata"]["labels"], body["metadata"]["uid"]) == ("DeviceStatus", {"floor": "1"}, view.uid)
    assert [each["uid"] for each in body["metadata"]["ownerReferences"]] == ["u1"]
    assert view.uid != "u1"
    assert view.uid == shown(STATUSES, obj).uid
    assert "annotations" not in body["metadata"]


async def test_a_device_status_is_read_where_its_device_is(client: Any) -> None:
    assert (await client("GET", f"{HERE}/devicestatuses/boiler")).status == 404
    assert (await client("POST", f"{HERE}/devices", DEVICE)).status == 201
    assert (await client("PUT", f"{HERE}/devices/boiler/status", {**DEVICE, "status": TWINS})).status == 200
    one = (await client("GET", f"{HERE}/devicestatuses/boiler")).json
    assert (one["kind"], one["status"]) == ("DeviceStatus", TWINS)
    (listed,) = (await client("GET", f"{PATH}/devicestatuses?labelSelector=floor%3D1")).json["items"]
    assert listed == one
    assert (await client("GET", f"{PATH}/devicestatuses?labelSelector=floor%3D2")).json["items"] == []
    table = (
        await client("GET", f"{PATH}/devicestatuses", headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    ).json
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "State", "Values", "Last Online", "Age"]
    assert table["rows"][0]["cells"][:3] == ["boiler", "ok", "t=20"]


async def test_a_device_status_is_watched(served: Any, client: Any) -> None:
    await client("POST", f"{HERE}/devices", DEVICE)
    watcher = await served.dial()
    await watcher.begin("GET", f"{HERE}/devicestatuses?watch=1")
    async with aclosing(watcher.lines()) as events:
        first = await anext(events)
        assert (first["type"], first["object"]["kind"]) == ("ADDED", "DeviceStatus")
        await client("PUT", f"{HERE}/devices/boiler/status", {**DEVICE, "status": TWINS})
        second = await anext(events)
    assert (second["type"], second["object"]["status"]) == ("MODIFIED", TWINS)
    assert second["object"]["metadata"]["uid"] == first["object"]["metadata"]["uid"]
    await watcher.aclose()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_nothing_is_written_through_a_view(client: Any, method: str) -> None:
    await client("POST", f"{HERE}/devices", DEVICE)
    reply = await client(method, f"{HERE}/devicestatuses/boiler", {})
    assert reply.status == 405
    assert reply.json["message"] == "devicestatuses show what devices say: they are read, and devices are written"
