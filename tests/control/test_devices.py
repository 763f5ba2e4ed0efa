import json
from typing import Any

import pytest

from edged.control.devices import RESOURCE, Hosts, plan, read
from edged.control.failover import DEFAULT_TOLERATION_S, Group, Plan, has_quorum
from edged.control.step import Step
from edged.model.core import Node
from edged.model.objects import Key, Object, dump, typed
from edged.store.writes import Put, PutStatus

NOW = 1_700_000_000.0
LATE = float(DEFAULT_TOLERATION_S)
BUS = {"bus": "1"}


def device(name: str = "boiler", node: str = "", said: str = "", status: Any = None, **spec: Any) -> Object:
    annotations = {"edged.io/failover": said} if said else {}
    spec = {"nodeSelector": BUS, **({"nodeName": node} if node else {}), **spec}
    body = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "spec": spec}
    body["metadata"] = {"name": name, "namespace": "default", "annotations": annotations}
    return Object(Key(RESOURCE, "default", name), 5, f"u-{name}", dump(body), dump(status or {"state": "ok"}))


def node(name: str, labels: Any = None, *, ready: str = "True", taints: Any = ()) -> Node:
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": BUS if labels is None else labels}}
    body["spec"] = {"taints": list(taints)}
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return typed(Object(Key("nodes", "", name), 1, name, dump(body), dump(status)), Node)


def planned(*devices: Object, nodes: Any = None, names: str = "abc", steady: float = LATE) -> Plan:
    """Of a group of gw-a, gw-b, gw-c (or `names`), of which `nodes` are members and the others lost at 0."""
    members = [node("gw-a"), node("gw-b")] if nodes is None else nodes
    there = frozenset(f"gw-{each}" for each in names)
    here = frozenset(each.metadata.name for each in members)
    group = Group(there, dict.fromkeys(there - here | {"gw-x"}, 0.0), 0.0 if has_quorum(there, here) else None)
    things = read(devices)
    return plan(things, Hosts(members, things), group, steady, NOW)


def bound(step: Step) -> str:
    (write,) = step.writes
    assert isinstance(write, Put)
    assert write.rv == 5
    return str(json.loads(write.body)["spec"]["nodeName"])


def said(step: Step) -> tuple[str, str, str]:
    """State, reason and message of a status that control writes."""
    (write,) = step.writes
    assert isinstance(write, PutStatus)
    status = json.loads(write.status)
    (served,) = [each for each in status["conditions"] if each["type"] == "Served"]
    return status["state"], served["reason"], served["message"]


def test_a_device_goes_to_the_node_of_its_labels_that_serves_the_fewest() -> None:
    others = [device("one", "gw-a"), device("two", "gw-a"), device("three", "gw-b")]
    (step,) = planned(device(), *others).steps
    assert bound(step) == "gw-b"
    assert step.note is not None
    assert step.note.message == "Successfully assigned default/boiler to gw-b"
    assert [bound(each) for each in planned(device("a"), device("b"), device("c")).steps] == ["gw-a", "gw-b", "gw-a"]
    assert [bound(each) for each in planned(device(nodeSelector={"bus": "2"}), nodes=[node("gw-b", {"bus": "2"})]).steps] == [
        "gw-b"
    ]


def test_a_device_without_a_selector_is_left_alone() -> None:
    assert planned(device(nodeSelector={}), device("b", "gw-b", nodeSelector={})) == Plan([], float("inf"))


def test_what_no_node_takes_says_why_once() -> None:
    tainted = node("gw-b", taints=[{"key": "k", "effect": "NoSchedule"}])
    (step,) = planned(device(), nodes=[node("gw-a", {}), tainted]).steps
    state, reason, message = said(step)
    assert (state, reason) == ("unknown", "Unbound")
    assert message == (
        "0/2 nodes can serve it: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s)"
    )
    write = step.writes[0]
    assert isinstance(write, PutStatus)
    again = device(status=json.loads(write.status))
    assert planned(again, nodes=[node("gw-a", {}), tainted]).steps == []
    tolerates = [{"key": "k", "operator": "Exists"}]
    assert bound(planned(device(tolerations=tolerates), nodes=[node("gw-a", {}), tainted]).steps[0]) == "gw-b"
    assert bound(planned(device(), nodes=[node("gw-a", ready="Unknown"), node("gw-b")]).steps[0]) == "gw-b"


def test_a_device_of_a_lost_node_moves_when_its_time_has_come() -> None:
    early = planned(device(node="gw-c"), steady=LATE - 1)
    assert early.again == LATE
    assert [said(each)[:2] for each in early.steps] == [("unknown", "NodeLost")]
    (step,) = planned(device(node="gw-c")).steps
    assert bound(step) == "gw-a"
    assert step.note is not None
    assert step.note.message.endswith("to gw-a: node gw-c is lost")


@pytest.mark.parametrize(
    ("rule", "names", "spec", "moves"),
    [
        ("", "abc", {}, True),
        ("", "abcdef", {}, False),  # the majority may be elsewhere
        ("always", "abcdef", {}, True),
        ("never", "abc", {}, False),
        ("sometimes", "abc", {}, False),
        ("always", "abc", {"nodeSelector": {}}, False),
        ("", "abc", {"tolerations": [{"operator": "Exists"}]}, False),
        ("", "abc", {"nodeSelector": {"kubernetes.io/hostname": "gw-c"}}, False),
    ],
)
def test_who_is_moved(rule: str, names: str, spec: Any, moves: bool) -> None:
    (step,) = planned(device(node="gw-c", said=rule, **spec), names=names).steps
    assert isinstance(step.writes[0], Put) == moves
    if not moves:
        assert said(step) == ("unknown", "NodeLost", "node gw-c, which serves it, is lost")


def test_a_device_of_no_node_is_said_to_be_so_and_keeps_its_readings() -> None:
    status = {"state": "ok", "twins": [{"propertyName": "t"}], "conditions": [{"type": "Configured", "status": "True"}]}
    (step,) = planned(device(node="gw-x", nodeSelector={}, status=status)).steps
    assert said(step) == ("unknown", "NodeLost", "there is no node gw-x")
    write = step.writes[0]
    assert isinstance(write, PutStatus)
    kept = json.loads(write.status)
    assert (kept["twins"], kept["conditions"][0]) == (status["twins"], {"type": "Configured", "status": "True"})


def test_a_device_leaves_a_node_that_has_no_longer_its_labels_if_another_has() -> None:
    relabelled = [node("gw-a", {}), node("gw-b")]
    (step,) = planned(device(node="gw-a"), nodes=relabelled).steps
    assert bound(step) == "gw-b"
    assert step.note is not None
    assert step.note.message.endswith("node gw-a has not its labels")
    assert planned(device(node="gw-a"), nodes=[node("gw-a", {})], names="a").steps == []
    assert planned(device(node="gw-a", nodeSelector={}), nodes=relabelled).steps == []
