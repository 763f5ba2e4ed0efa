import json
from typing import Any

import pytest

from edged.control.failover import DEFAULT_TOLERATION_S, Group, Plan, Word, has_quorum, patience, plan, rule, word
from edged.control.pods import Owned, next_uid
from edged.control.scheduler import Places
from edged.model.core import Node
from edged.model.objects import Key, Object, dump, typed
from edged.store.writes import Create, Delete

NOW = 1_700_000_000.0
UID = "d1"
OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": UID, "controller": True}
LATE = float(DEFAULT_TOLERATION_S)
FAILOVER = "edged.io/failover"


def pod(name: str = "web-0", said: str | None = None, *, owned: bool = True, status: Any = None, **more: Any) -> Owned:
    metadata = {"name": name, "namespace": "default", **more.pop("metadata", {})}
    if owned:
        metadata["ownerReferences"] = [OWNER]
    if said is not None:
        metadata["annotations"] = {FAILOVER: said}
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "gw-c", **more}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return Owned.of(Object(Key("pods", "default", name), 5, f"u-{name}", dump(body), dump(status or {"phase": "Running"})))


def deployment(said: str | None = None, node: str = "") -> Object:
    metadata = {"name": "web", "namespace": "default", "annotations": {FAILOVER: said} if said else {}}
    spec = {"template": {"spec": {"containers": [], **({"nodeName": node} if node else {})}}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    return Object(Key("deployments.apps", "default", "web"), 1, UID, dump(body), None)


def group(members: str = "ab", nodes: str = "abc", since: float = 0.0) -> Group:
    lost = {f"gw-{each}": since for each in nodes if each not in members}
    names = frozenset(f"gw-{each}" for each in nodes)
    quorum = has_quorum(names, frozenset(f"gw-{each}" for each in members))
    return Group(names, lost, since if quorum else None)


def places(memory: str = "1Gi") -> Places:
    status = {"allocatable": {"memory": memory}, "conditions": [{"type": "Ready", "status": "True"}]}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-a"}}
    return Places([typed(Object(Key("nodes", "", "gw-a"), 1, "n", dump(body), dump(status)), Node)], [])


def moved(*pods: Owned, seen: Group | None = None, steady: float = LATE, said: str | None = None, room: str = "1Gi") -> Plan:
    return plan(pods, {UID: Word(said, pinned=False)}, seen or group(), places(room), steady, NOW)


def test_a_pod_of_a_lost_node_is_replaced_when_its_time_has_come() -> None:
    assert moved(pod(), steady=LATE - 1) == Plan([], LATE)
    [step] = moved(pod()).steps
    gone, made = step.writes
    assert isinstance(gone, Delete)
    assert isinstance(made, Create)
    assert (gone.uid, gone.rv) == ("u-web-0", 5)
    assert made.uid == next_uid(UID, "web-0", "u-web-0")
    assert "nodeName" not in json.loads(made.body)["spec"]
    assert step.note is not None
    assert (step.note.reason, step.note.about.uid) == ("TaintManagerEviction", made.uid)
    assert moved(pod()) == moved(pod())


def test_pods_of_other_nodes_stay() -> None:
    assert moved(pod(nodeName="gw-a"), pod(nodeName="")) == Plan([], float("inf"))


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 15),
        ([{"key": "other", "operator": "Exists", "tolerationSeconds": 1, "effect": "NoExecute"}], 15),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}], 2),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -2}], 0),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}], 15),
        ([{"operator": "Exists"}], None),
    ],
)
def test_how_long_a_pod_stays(tolerations: Any, seconds: float | None) -> None:
    each = pod(tolerations=tolerations)
    assert patience(each.pod.spec.tolerations) == seconds
    assert len(moved(each, steady=seconds or 0.0).steps) == (seconds is not None)
    assert moved(each, steady=-1.0).again == (float("inf") if seconds is None else seconds)


@pytest.mark.parametrize(
    ("members", "nodes", "enough"),
    [
        ("ab", "abc", True),
        ("c", "abc", False),
        ("ab", "abcd", True),
        ("cd", "abcd", False),
        ("a", "ab", True),
        ("b", "ab", False),
    ],
)
def test_the_majority_decides_and_of_two_halves_that_with_the_lowest_name(members: str, nodes: str, enough: bool) -> None:
    assert (group(members, nodes).quorum_since is not None) is enough
    each = pod(nodeName=min(group(members, nodes).lost))
    assert len(moved(each, seen=group(members, nodes)).steps) == enough
    assert len(moved(each, seen=group(members, nodes), said="always").steps) == 1
    assert moved(each, seen=group(members, nodes), said="never").steps == []


def test_a_member_that_is_no_node_of_the_group_does_not_count() -> None:
    assert not has_quorum(frozenset({"gw-b", "gw-c", "gw-d"}), frozenset({"gw-b", "x", "y"}))
    assert not has_quorum(frozenset(), frozenset({"gw-a"}))


def test_a_side_that_becomes_the_majority_counts_from_then() -> None:
    """Until then the majority was elsewhere, and the node that is lost here may have been a part of it."""
    late = group()._replace(quorum_since=14.0)
    assert moved(pod(), seen=late, steady=LATE + 13) == Plan([], LATE + 14)
    assert len(moved(pod(), seen=late, steady=LATE + 14).steps) == 1
    assert len(moved(pod(), seen=late, said="always").steps) == 1


@pytest.mark.parametrize(
    ("each", "workload", "expected"),
    [
        (pod(), None, "quorum"),
        (pod(), deployment(), "quorum"),
        (pod(), deployment("always"), "always"),
        (pod(said="never"), deployment("always"), "never"),
        (pod(said="always"), deployment("never"), "always"),
        (pod(said="always"), deployment("always", node="gw-c"), "never"),
        (pod(owned=False), None, "never"),
        (pod(owned=False, said="quorum"), None, "quorum"),
        (pod(said="sometimes"), deployment(), "never"),
        (pod(metadata={"ownerReferences": []}, owned=False), deployment("always"), "never"),
    ],
)
def test_whose_word_is_the_rule(each: Owned, workload: Object | None, expected: str) -> None:
    assert rule(each, {UID: word(workload)} if workload else {}) == expected


def test_a_pod_that_no_other_node_would_take_stays() -> None:
    """Its node may come back with the pod still running: to take it away for nothing would only stop it."""
    assert moved(pod(nodeSelector={"kubernetes.io/hostname": "gw-c"})).steps == []
    assert len(moved(pod("web-0"), pod("web-1"), room="300Mi").steps) == 2  # what asks for nothing fits
    big = [pod(f"web-{at}", containers=[{"name": "c", "resources": {"requests": {"memory": "200Mi"}}}]) for at in (0, 1)]
    assert len(moved(*big, room="300Mi").steps) == 1


GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def test_a_pod_that_is_to_end_is_removed_when_it_could_have_been_replaced() -> None:
    [step] = moved(pod(metadata=GOING)).steps
    assert step.writes == (Delete(Key("pods", "default", "web-0"), rv=5, uid="u-web-0"),)
    assert moved(pod(metadata=GOING), seen=group("b", "abc")).steps == []
    assert moved(pod(metadata=GOING, owned=False)).steps == []
    assert moved(pod(metadata=GOING), steady=LATE - 1).steps == []
    assert moved(pod(metadata={**GOING, "finalizers": ["a/b"]})).steps == []


def test_a_pod_that_is_to_end_on_a_node_that_was_removed_from_the_group_goes() -> None:
    removed = group()._replace(nodes=frozenset({"gw-a", "gw-b"}))
    assert len(moved(pod(metadata=GOING, owned=False), seen=removed).steps) == 1
    assert moved(pod(owned=False), seen=removed).steps == []
    assert len(moved(pod(), seen=removed).steps) == 1


def test_a_pod_that_has_ended_stays_as_it_is() -> None:
    assert moved(pod(status={"phase": "Succeeded"})).steps == []
