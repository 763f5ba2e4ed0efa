import json
from typing import Any

import pytest

from edged.control.pods import Owned
from edged.control.scheduler import Places
from edged.control.scheduler import schedule as schedule_at
from edged.control.step import Step
from edged.model.core import Node
from edged.model.objects import Key, Object, dump, typed
from edged.store.writes import Put, PutStatus

NOW = 1_700_000_000.0


def node(name: str, memory: str = "1Gi", *, ready: str = "True", **spec: Any) -> Object:
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}
    status = {"allocatable": {"memory": memory}, "conditions": [{"type": "Ready", "status": ready}]}
    return Object(Key("nodes", "", name), 1, name, dump({**body, "spec": spec}), dump(status))


def pod(name: str, memory: str | None = None, status: Any = None, **spec: Any) -> Object:
    container: dict[str, Any] = {"name": "c", "image": "i"}
    if memory:
        container["resources"] = {"requests": {"memory": memory}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}}
    body["spec"] = {"containers": [container], **spec}
    return Object(Key("pods", "default", name), 5, name, dump(body), dump(status or {"phase": "Pending"}))


def schedule(pods: list[Object], nodes: list[Object], now: float) -> list[Step]:
    owned = [Owned.of(each) for each in pods]
    return schedule_at(owned, Places([typed(each, Node) for each in nodes], [each.pod for each in owned]), now)


def bound(step: Step) -> str:
    [write] = step.writes
    assert isinstance(write, Put)
    assert write.rv == 5
    return str(json.loads(write.body)["spec"]["nodeName"])


def test_a_selector_decides() -> None:
    [step] = schedule([pod("a", nodeSelector={"kubernetes.io/hostname": "gw-b"})], [node("gw-a", "8Gi"), node("gw-b")], NOW)
    assert bound(step) == "gw-b"
    assert step.note is not None
    assert step.note.message == "Successfully assigned default/a to gw-b"


def test_else_the_node_with_most_free_memory() -> None:
    there = [node("gw-a", "1Gi"), node("gw-b", "2Gi")]
    assert bound(schedule([pod("a")], there, NOW)[0]) == "gw-b"
    full = pod("b", "1900Mi", nodeName="gw-b")
    assert [bound(each) for each in schedule([pod("a"), full], there, NOW)] == ["gw-a"]


def test_pods_of_one_round_count() -> None:
    there = [node("gw-a", "1Gi"), node("gw-b", "1Gi")]
    assert [bound(each) for each in schedule([pod(str(n)) for n in range(4)], there, NOW)] == ["gw-a", "gw-b", "gw-a", "gw-b"]


def test_what_is_bound_or_going_stays() -> None:
    going = pod("c")
    going = going._replace(
        body=going.body.replace(b'"name":"c","namespace"', b'"deletionTimestamp":"x","name":"c","namespace"')
    )
    assert b"deletionTimestamp" in going.body
    there = [pod("a", nodeName="gw-z"), pod("b", status={"phase": "Succeeded"}), going]
    assert schedule(there, [node("gw-a")], NOW) == []


@pytest.mark.parametrize(
    ("place", "wish", "why"),
    [
        (node("gw-a", unschedulable=True), pod("a"), "1 node(s) were unschedulable."),
        (node("gw-a", ready="Unknown"), pod("a"), "1 node(s) were not ready."),
        (node("gw-a", taints=[{"key": "k", "effect": "NoSchedule"}]), pod("a"), "1 node(s) had untolerated taint(s)."),
        (node("gw-a"), pod("a", "2Gi"), "1 Insufficient memory."),
        (node("gw-a"), pod("a", nodeSelector={"x": "y"}), "1 node(s) didn't match Pod's node affinity/selector."),
    ],
)
def test_a_pod_that_fits_nowhere_says_why_once(place: Object, wish: Object, why: str) -> None:
    [step] = schedule([wish], [place], NOW)
    [write] = step.writes
    assert isinstance(write, PutStatus)
    assert step.note is not None
    assert step.note.reason == "FailedScheduling"
    assert step.note.message == f"0/1 nodes are available: {why}"
    [condition] = json.loads(write.status)["conditions"]
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", step.note.message)
    assert schedule([wish._replace(status=write.status)], [place], NOW + 60) == []


def test_without_any_node() -> None:
    note = schedule([pod("a")], [], NOW)[0].note
    assert note is not None
    assert note.message == "0/0 nodes are available."


def test_a_taint_is_tolerated_and_one_that_is_only_preferred_avoided() -> None:
    there = [node("gw-a", taints=[{"key": "wet", "value": "very", "effect": "NoSchedule"}])]
    assert bound(schedule([pod("a", tolerations=[{"key": "wet", "value": "very"}])], there, NOW)[0]) == "gw-a"
    assert not isinstance(schedule([pod("a", tolerations=[{"key": "wet"}])], there, NOW)[0].writes[0], Put)
    there = [node("gw-a", "8Gi", taints=[{"key": "far", "effect": "PreferNoSchedule"}]), node("gw-b")]
    assert bound(schedule([pod("a")], there, NOW)[0]) == "gw-b"
    assert bound(schedule([pod("a")], there[:1], NOW)[0]) == "gw-a"
    assert bound(schedule([pod("a", tolerations=[{"key": "far", "operator": "Exists"}])], there, NOW)[0]) == "gw-a"


def test_a_pod_that_tolerates_everything_goes_to_a_cordoned_node() -> None:
    assert (
        bound(schedule([pod("a", tolerations=[{"operator": "Exists"}])], [node("gw-a", unschedulable=True)], NOW)[0]) == "gw-a"
    )


def test_an_amount_that_is_none_counts_as_none() -> None:
    there = [node("gw-a", "lots"), node("gw-b", "1Gi")]
    assert [bound(each) for each in schedule([pod("a", "much")], there, NOW)] == ["gw-b"]
    note = schedule([pod("a", "1Mi")], there[:1], NOW)[0].note
    assert note is not None
    assert note.reason == "FailedScheduling"
