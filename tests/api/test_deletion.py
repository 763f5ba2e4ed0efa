from typing import Any

import pytest

from edged.model.objects import Key
from edged.store.writes import PutStatus

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = {"content-type": "application/merge-patch+json"}


async def pod(client: Any, name: str = "p", **spec: Any) -> Any:
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    reply = await client("POST", PODS, body)
    assert reply.status == 201
    return reply.json


async def test_a_bound_pod_gets_its_time(served: Any, client: Any) -> None:
    await pod(client, nodeName="gw-a", terminationGracePeriodSeconds=20)
    marked = (await client("DELETE", f"{PODS}/p")).json["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 20
    shorter = (await client("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})).json["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert shorter["deletionTimestamp"] < marked["deletionTimestamp"]
    longer = (await client("DELETE", f"{PODS}/p?gracePeriodSeconds=60")).json["metadata"]
    assert longer["deletionTimestamp"] == shorter["deletionTimestamp"]
    assert (await client("GET", f"{PODS}/p")).status == 200
    assert (await client("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})).json["status"] == "Success"
    assert (await client("GET", f"{PODS}/p")).status == 404


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_of_which_nothing_runs_goes_at_once(served: Any, client: Any, phase: str) -> None:
    await pod(client, "unbound")
    assert (await client("DELETE", f"{PODS}/unbound")).json["status"] == "Success"
    await pod(client, "ended", nodeName="gw-a")
    await served.store.write(PutStatus(Key("pods", "default", "ended"), b'{"phase":"%s"}' % phase.encode()))
    assert (await client("DELETE", f"{PODS}/ended")).json["status"] == "Success"


async def test_a_marked_pod_keeps_its_mark(client: Any) -> None:
    await pod(client, nodeName="gw-a")
    marked = (await client("DELETE", f"{PODS}/p")).json["metadata"]
    changed = (await client("PATCH", f"{PODS}/p", {"metadata": {"labels": {"a": "b"}, "deletionTimestamp": None}}, MERGE)).json
    assert changed["metadata"]["deletionTimestamp"] == marked["deletionTimestamp"]


async def test_finalizers_hold_an_object(client: Any) -> None:
    await client("POST", MAPS, {"metadata": {"name": "a", "finalizers": ["x.test/hold"]}})
    held = (await client("DELETE", f"{MAPS}/a")).json
    assert held["metadata"]["deletionTimestamp"]
    assert (await client("PATCH", f"{MAPS}/a", {"data": {"x": "y"}}, MERGE)).status == 200
    assert (await client("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}}, MERGE)).status == 200
    assert (await client("GET", f"{MAPS}/a")).status == 404


async def test_preconditions(client: Any) -> None:
    made = (await client("POST", MAPS, {"metadata": {"name": "a"}})).json["metadata"]
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        reply = await client("DELETE", f"{MAPS}/a", {"preconditions": wrong})
        assert (reply.status, reply.json["reason"]) == (409, "Conflict")
    right = {"uid": made["uid"], "resourceVersion": made["resourceVersion"]}
    assert (await client("DELETE", f"{MAPS}/a", {"preconditions": right})).status == 200


@pytest.mark.parametrize(
    "options",
    [
        {"gracePeriodSeconds": -1},
        {"gracePeriodSeconds": "soon"},
        {"gracePeriodSeconds": True},
        {"propagationPolicy": 7},
        {"preconditions": {"uid": 7}},
        {"preconditions": {"resourceVersion": "x"}},
        {"preconditions": []},
        [],
    ],
)
async def test_options_that_make_no_sense(served: Any, client: Any, options: Any) -> None:
    await client("POST", MAPS, {"metadata": {"name": "a"}})
    reply = await client("DELETE", f"{MAPS}/a", options)
    if options == {"preconditions": []}:
        assert reply.status == 200
    else:
        assert reply.status in (400, 422)
        assert served.store.get(Key("configmaps", "default", "a")) is not None
