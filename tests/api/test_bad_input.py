"""Bad bodies: refused with a Status that says where, in under 100 ms of this process's work, and nothing is stored."""

import copy
import json
import time
from random import Random
from typing import Any

import pytest

from edged.model.limits import MAX_BODY, MAX_NODES
from edged.store.store import Store

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
DEVICES = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"
YAML = {"content-type": "application/yaml"}
LIMIT_S = 0.1
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def stored(store: Store) -> Any:
    return store.revision, [obj.key for resource in ("pods", "deployments.apps") for obj in store.list(resource)]


def nested(depth: int) -> Any:
    return b'{"metadata":' + b'{"a":' * depth + b"1" + b"}" * (depth + 1)


def changed(path: str, value: Any) -> Any:
    body = copy.deepcopy(POD)
    at = body
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return json.dumps(body).encode()


CASES = {
    "no JSON": (b'{"metadata": {"name": "p"', {}, 400, "line 1"),
    "no object": (b"[1, 2]", {}, 400, "type array"),
    "no UTF-8": (b'{"metadata": {"name": "\xff"}}', {}, 400, "UTF-8"),
    "nothing": (b" ", {}, 400, ""),
    "no YAML": (b"a: [1\nb: }", YAML, 400, "line"),
    "aliases": (b"a: &a [x, x]\nb: [*a, *a]\n", YAML, 400, "alias"),
    "too deep": (nested(65), {}, 400, "64"),
    "far too deep": (nested(20_000), {}, 400, "64"),
    "deep YAML": (b"[" * 5000, YAML, 400, "64"),
    "too many values": (b'{"a":[' + b"1," * 1_000_000 + b"1]}", {}, 400, str(MAX_NODES)),
    "large YAML": (b"a: b\n" * 400_000, YAML, 400, ""),
    "large garbage": (b'{"a": "' + b"x" * (MAX_BODY - 100), {}, 400, "line 1"),
    "large and wrong": (changed(["metadata", "labels"], {f"k{n}": n for n in range(20_000)}), {}, 422, "metadata.labels"),
    "many unknown fields": (json.dumps({**POD, **{f"f{n}": n for n in range(20_000)}}).encode(), {}, 201, ""),
    "a wrong type": (changed(["spec", "containers"], {}), {}, 422, "spec.containers"),
    "a wrong name": (changed(["metadata", "name"], "No_Label"), {}, 422, "metadata.name"),
    "no name": (changed(["metadata"], {}), {}, 422, "metadata.name"),
    "metadata that is none": (changed(["metadata"], 5), {}, 422, "metadata"),
    "a name that is none": (changed(["metadata", "name"], ["x"]), {}, 422, "metadata.name"),
    "a wrong port": (changed(["spec", "containers", 0, "ports"], [{"containerPort": 70000}]), {}, 422, "containerPort"),
    "another form": (b"name,p", {"content-type": "text/csv"}, 415, "application/json"),
}


@pytest.mark.parametrize("name", CASES)
async def test_bad_bodies(served: Any, client: Any, name: str) -> None:
    data, headers, code, where = CASES[name]
    await client("POST", PODS, b"a: 1", YAML)  # the YAML reader is loaded when the first YAML comes
    before = stored(served.store)
    began = time.process_time()
    reply = await client("POST", PODS, data, headers)
    took = time.process_time() - began
    assert reply.status == code, reply.body[:300]
    if code != 201:
        assert reply.json["kind"] == "Status"
        assert where in reply.body.decode()
        assert stored(served.store) == before
    assert took < LIMIT_S


@pytest.mark.parametrize(
    ("patch", "content_type"),
    [
        ([{"op": "copy", "from": "/metadata", "path": "/metadata/labels"}] * 40, "application/json-patch+json"),
        ([{"op": "add", "path": "/spec/x", "value": [1] * 1000}] + [{"op": "copy", "from": "/spec", "path": "/spec/x/-"}] * 30,
         "application/json-patch+json"),
        ([{"op": "fly", "path": "/"}], "application/json-patch+json"),
        ({"spec": 5}, "application/merge-patch+json"),
        ({"spec": {"containers": [{"$patch": "nonsense"}]}}, "application/strategic-merge-patch+json"),
        ([], "application/merge-patch+json"),
        ({}, "application/json-patch+json"),
    ],
)  # fmt: skip
async def test_bad_patches(served: Any, client: Any, patch: Any, content_type: str) -> None:
    assert (await client("POST", PODS, POD)).status == 201
    before = stored(served.store)
    began = time.process_time()
    reply = await client("PATCH", f"{PODS}/p", patch, {"content-type": content_type})
    assert time.process_time() - began < LIMIT_S
    assert reply.status in (400, 422), reply
    assert stored(served.store) == before


VALUES = [None, True, 0, -1, 2**70, 1.5, "", "x", "\x00", "A" * 300, [], [None], {}, {"": ""}, {"$patch": "delete"}, [[]]]
SEEDS = {
    PODS: {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}, "annotations": {"c": "d"}, "ownerReferences": [], "finalizers": []},
        "spec": {
            "nodeName": "gw-a",
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}], "env": [{"name": "E", "value": "v"}]}],
        },
    },
    DEPLOYMENTS: {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    },
    DEVICES: {
        "metadata": {"name": "d"},
        "spec": {
            "deviceModelRef": {"name": "m"},
            "protocol": {"protocolName": "modbus", "configData": {"ip": "x"}},
            "properties": [{"name": "t", "desired": {"value": "1"}, "visitors": {"configData": {"register": 1}}}],
        },
    },
    "/api/v1/namespaces/default/services": {
        "metadata": {"name": "s"},
        "spec": {"clusterIP": "9.251.1.1", "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "x", "name": "h"}]},
    },
    "/api/v1/namespaces/default/configmaps": {"metadata": {"name": "m"}, "data": {"a": "b"}, "binaryData": {"c": "AA=="}},
    "/api/v1/namespaces/default/events": {"metadata": {"name": "e"}, "involvedObject": {"name": "p"}, "count": 1},
    "/api/v1/nodes": {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
}
TYPES = ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/json"]


def mutate(random: Random, value: Any) -> Any:
    """A copy with some parts replaced, removed or renamed."""
    value = copy.deepcopy(value)
    for _ in range(random.randint(1, 3)):
        at = value
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = random.choice(keys)
            if isinstance(at[key], dict | list) and at[key] and random.random() < 0.75:
                at = at[key]
                continue
            if isinstance(at, dict) and random.random() < 0.2:
                at[random.choice(["x", "", "status", "name"])] = at.pop(key)
            else:
                at[key] = copy.deepcopy(random.choice(VALUES))
            break
    return value


@pytest.mark.parametrize("seed", [1, 2])
async def test_mutated_objects_crash_nothing(served: Any, client: Any, seed: int) -> None:
    """Created, replaced, patched and read again in every form: never a 500, and what was stored can always be read."""
    random = Random(seed)
    for _ in range(250):
        target = random.choice(list(SEEDS))
        body = mutate(random, SEEDS[target])
        reply = await client("POST", target, body)
        assert reply.status in (201, 400, 409, 422), (seed, body, reply)
        name = SEEDS[target]["metadata"]["name"]
        change = mutate(random, SEEDS[target])
        sort = random.choice(TYPES)
        changed = await client("PUT" if sort == TYPES[2] else "PATCH", f"{target}/{name}", change, {"content-type": sort})
        assert changed.status in (200, 400, 404, 409, 415, 422), (seed, change, changed)
        for accept in ("application/json;as=Table;v=v1;g=meta.k8s.io", "application/json"):
            assert (await client("GET", target, headers={"accept": accept})).status == 200, (seed, body, change)
        if random.random() < 0.3:
            ended = await client(
                "DELETE", f"{target}/{name}", mutate(random, {"gracePeriodSeconds": 1, "preconditions": {"uid": "x"}})
            )
            assert ended.status in (200, 400, 404, 409, 422), (seed, ended)
