from operator import itemgetter
from typing import Any

import pytest

from edged.api.things import EVER, MOST
from edged.model.core import Node
from edged.model.objects import dump, key
from edged.store.writes import Create
from edged.wire.peer import DeviceCall, DeviceHistory

DEVICES = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"
DEVICE: Any = {"metadata": {"name": "pump"}, "spec": {"deviceModelRef": {"name": "m"}, "nodeName": "gw-b"}}
CALL = f"{DEVICES}/pump/call"


async def test_a_call_goes_to_the_node_that_serves_the_device(served: Any, client: Any) -> None:
    await client("POST", DEVICES, DEVICE)
    served.printed = [b'{"values":', b'{"valve":"30"}}']
    reply = await client("POST", CALL, {"method": "Open", "arguments": ["valve=30"]})
    assert (reply.status, reply.json) == (200, {"values": {"valve": "30"}})
    assert served.called == [(DeviceCall("default", "pump", "Open", ["valve=30"]), "gw-b")]


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({}, 400, "missing required field `method`"),
        ({"method": 1}, 400, "Expected `str`"),
        ({"method": "m", "values": {}}, 400, "unknown field `values`"),
        (b"[", 400, "expected a method"),
        ({"method": "m", "arguments": ["x" * 20_000]}, 413, "at most 12288 are taken"),
    ],
)
async def test_a_body_that_is_no_call(client: Any, body: Any, code: int, says: str) -> None:
    await client("POST", DEVICES, DEVICE)
    reply = await client("POST", CALL, body)
    assert reply.status == code
    assert says in reply.json["message"]


async def test_a_call_that_nobody_takes(served: Any, client: Any) -> None:
    assert (await client("POST", CALL, {"method": "m"})).status == 404
    await client("POST", DEVICES, {**DEVICE, "spec": {"deviceModelRef": {"name": "m"}}})
    assert (await client("POST", CALL, {"method": "m"})).json["message"] == "device pump is served by no node"
    assert (await client("GET", CALL)).status == 405
    await client("PUT", f"{DEVICES}/pump", DEVICE)
    served.unreachable = "node gw-b cannot be reached"
    assert (await client("POST", CALL, {"method": "m"})).status == 503


HISTORY = f"{DEVICES}/pump/history"


async def test_a_history_comes_from_all_nodes(served: Any, client: Any) -> None:
    await client("POST", DEVICES, DEVICE)
    served.printed = [b'{"time":7,"value":"1"}\n{"time"', b':6,"value":"2"}\n']
    await served.store.write(Create(key(Node, "gw-c"), "uid-c", dump({"metadata": {"name": "gw-c"}})))
    reply = await client("GET", f"{HISTORY}?property=valve&since=5&until=9&limit=3")
    assert (reply.status, reply.headers["content-type"], reply.warnings) == (200, "application/x-ndjson", [])
    assert reply.body == b'{"time":7,"value":"1"}\n' * 3
    asked = DeviceHistory("default", "pump", "valve", 5, 9, 3)
    assert sorted(served.called, key=itemgetter(1)) == [(asked, node) for node in ("gw-a", "gw-b", "gw-c")]
    await client("GET", f"{HISTORY}?limit=1000000")
    assert served.called[-1][0] == DeviceHistory("default", "pump", "", 0, EVER, MOST)
    served.unreachable = "nobody is there"
    assert (await client("GET", HISTORY)).status == 503


@pytest.mark.parametrize("query", ["since=yesterday", "until=-1", "limit=1.5", "since=99999999999999999"])
async def test_a_time_or_number_that_is_none(client: Any, query: str) -> None:
    await client("POST", DEVICES, DEVICE)
    reply = await client("GET", f"{HISTORY}?{query}")
    assert (reply.status, "must be a whole number" in reply.json["message"]) == (400, True)
