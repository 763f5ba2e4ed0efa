import json
from ipaddress import IPv4Network
from typing import Any

from msgspec.structs import replace

from edged.control.nodes import Facts, describe, is_unseen, seen, unseen
from edged.model.core import Node, NodeSystemInfo
from edged.model.objects import Key, Object, dump, split, typed, whole
from edged.store.writes import Create, Put, PutStatus

NOW = 1_700_000_000.0
FACTS = Facts("gw-a", "u1", "site-1", "10.0.0.2", 512 << 20, 2, NodeSystemInfo(architecture="arm64"), {"room": "cellar"})


def made(facts: Facts = FACTS) -> Object:
    [create] = describe(None, facts, NOW)
    assert isinstance(create, Create)
    return Object(create.key, 1, create.uid, create.body, create.status)


def test_a_new_node_describes_itself() -> None:
    obj = made()
    assert obj.key == Key("nodes", "", "gw-a")
    labels = json.loads(obj.body)["metadata"]["labels"]
    assert labels["kubernetes.io/hostname"] == "gw-a"
    assert labels["kubernetes.io/arch"] == "arm64"
    assert labels["room"] == "cellar"
    status = json.loads(obj.status)
    assert status["capacity"] == {"cpu": "2", "memory": "524288Ki", "pods": "110"}
    assert status["conditions"][0]["type"] == "Ready"


def test_nothing_new_is_not_written() -> None:
    assert describe(made(), FACTS, NOW + 1000) == []


def test_labels_of_people_stay_and_ours_come_back() -> None:
    obj = made()
    obj = obj._replace(body=obj.body.replace(b'"room":"cellar"', b'"owner":"ot"'))
    [put] = describe(obj, FACTS, NOW)
    assert isinstance(put, Put)
    labels = json.loads(put.body)["metadata"]["labels"]
    assert labels["owner"] == "ot"
    assert labels["room"] == "cellar"


PODS = FACTS._replace(pods=IPv4Network("10.42.0.0/16"))


def range_of(obj: Object) -> str:
    spec = whole(obj)["spec"]
    assert spec.get("podCIDRs", []) == ([spec["podCIDR"]] if "podCIDR" in spec else [])
    return str(spec.get("podCIDR", ""))


def test_a_node_takes_a_range_and_keeps_it_beside_what_people_wrote() -> None:
    obj = made(PODS)
    assert range_of(obj).startswith("10.42.")
    assert describe(obj, PODS, NOW + 1000, [typed(obj, Node)]) == []
    cordoned = obj._replace(body=obj.body.replace(b'"spec":{', b'"spec":{"unschedulable":true,'))
    [put] = describe(cordoned, FACTS, NOW, [typed(cordoned, Node)])
    assert isinstance(put, Put)
    assert whole(cordoned._replace(body=put.body))["spec"] == {"unschedulable": True}, "who has no pod network has no range"


def test_a_node_that_takes_what_an_older_one_has_takes_another() -> None:
    obj = made(PODS)
    other = typed(obj, Node)
    older = replace(other, metadata=replace(other.metadata, name="gw-b", creation_timestamp="2020-01-01T00:00:00Z"))
    [put] = describe(obj, PODS, NOW, [typed(obj, Node), older])
    assert isinstance(put, Put)
    moved = obj._replace(body=put.body)
    assert range_of(moved) not in ("", range_of(obj))
    younger = replace(older, metadata=replace(older.metadata, creation_timestamp="2030-01-01T00:00:00Z"))
    assert describe(obj, PODS, NOW, [typed(obj, Node), younger]) == []


def parsed(obj: Object) -> tuple[Object, Node]:
    return obj, typed(obj, Node)


def after(obj: Object, writes: list[Any]) -> Object:
    for write in writes:
        obj = obj._replace(status=write.status) if isinstance(write, PutStatus) else obj._replace(body=write.body)
    return obj


def tainted(obj: Object) -> list[tuple[str, str]]:
    return [(each["key"], each["effect"]) for each in whole(obj)["spec"].get("taints", [])]


UNREACHABLE = "node.kubernetes.io/unreachable"


def test_a_node_that_is_not_seen_is_unknown_until_it_says_otherwise() -> None:
    obj = made()
    assert not is_unseen(typed(obj, Node))
    put, status = unseen(*parsed(obj), NOW + 40)
    assert isinstance(put, Put)
    assert isinstance(status, PutStatus)
    obj = after(obj, [put, status])
    said = json.loads(status.status)
    [condition] = said["conditions"]
    assert (condition["status"], condition["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert condition["message"] == "Edged stopped posting node status."
    assert said["capacity"]["cpu"] == "2"
    assert tainted(obj) == [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    assert whole(obj)["spec"]["taints"][0]["timeAdded"] == "2023-11-14T22:14:00Z"
    assert is_unseen(typed(obj, Node))
    assert unseen(*parsed(obj), NOW + 80) == []
    [back] = describe(obj, FACTS, NOW + 90)
    assert isinstance(back, PutStatus)
    assert json.loads(back.status)["conditions"][0]["status"] == "True"
    obj = after(obj, [back])
    assert not is_unseen(typed(obj, Node))
    obj = after(obj, seen(*parsed(obj)))
    assert "taints" not in whole(obj)["spec"]
    assert seen(*parsed(obj)) == []


def test_what_people_did_to_a_node_stays() -> None:
    obj = made()
    value = whole(obj)
    theirs = [{"key": "wet", "effect": "NoExecute"}, {"key": UNREACHABLE, "effect": "PreferNoSchedule"}]
    value["spec"] = {"unschedulable": True, "taints": theirs}
    obj = obj._replace(body=split(value)[0])
    obj = after(obj, unseen(*parsed(obj), NOW))
    assert len(tainted(obj)) == 4
    assert whole(obj)["spec"]["unschedulable"]
    assert whole(after(obj, seen(*parsed(obj))))["spec"] == value["spec"]


def test_a_node_that_never_said_anything_is_tainted_only() -> None:
    obj = made()._replace(status=dump({}))
    [put] = unseen(*parsed(obj), NOW)
    assert isinstance(put, Put)
    assert is_unseen(typed(after(obj, [put]), Node))
