"""The Node object: how a node describes itself, and what is said of one that nobody sees. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

import msgspec

from edged.model.core import Node, NodeAddress, NodeStatus, NodeSystemInfo
from edged.model.failover import NO_EXECUTE, NO_SCHEDULE, UNREACHABLE
from edged.model.kinds import BY_STRUCT
from edged.model.meta import JSON, Condition
from edged.model.objects import Key, Object, dump, split, typed, whole
from edged.model.ranges import claim
from edged.model.times import format_time
from edged.store.writes import Create, Put, PutStatus, Write

MAX_PODS = 110  # as the kubelet's default
EFFECTS = (NO_SCHEDULE, NO_EXECUTE)  # of the taints on a node that nobody sees, as Kubernetes' node lifecycle controller
RANGES = ("podCIDR", "podCIDRs")
STOPPED = "Edged stopped posting node status."
GROUP_LABEL = "apps.kubeedge.io/belonging-to"


class Facts(NamedTuple):
    """What a node knows of its machine and of itself. `memory` in bytes. A `limited` one may write its own Node only.

    `pods` is the network in which its pods have addresses; None when they have none that other nodes could call.
    """

    name: str
    uid: str
    group: str
    host_ip: str
    memory: int
    cpus: int
    info: NodeSystemInfo
    labels: dict[str, str]
    limited: bool = False
    pods: IPv4Network | None = None


def describe(there: Object | None, facts: Facts, now: float, nodes: Sequence[Node] = ()) -> list[Write]:
    """The writes that make this node's own Node say what is so: itself Ready, its labels beside those people gave it.

    And the range of its pods: `nodes` are all that are known, and what they claim.
    """
    row = BY_STRUCT[Node]
    labels = {
        "kubernetes.io/hostname": facts.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": facts.info.architecture,
        GROUP_LABEL: facts.group,
        **facts.labels,
    }
    if there is None:
        body: JSON = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": facts.name}, "spec": {}}
        body["metadata"] |= {"uid": facts.uid, "creationTimestamp": format_time(now), "labels": labels}
        body["spec"] = _ranges(facts, format_time(now), nodes)
        status = _status(NodeStatus(), facts, now)
        return [Create(Key(row.resource, "", facts.name), facts.uid, dump(body), dump(status))]
    writes: list[Write] = []
    value = whole(there)
    spec, known = value.get("spec", {}), value["metadata"].get("labels", {})
    ranges = _ranges(facts, value["metadata"].get("creationTimestamp") or "", nodes)
    if not labels.items() <= known.items() or {field: spec[field] for field in RANGES if field in spec} != ranges:
        value["metadata"]["labels"] = known | labels
        value["spec"] = {**{field: each for field, each in spec.items() if field not in RANGES}, **ranges}
        writes.append(Put(there.key, split(value)[0], rv=there.rv))
    said = typed(there, Node).status
    status = _status(said, facts, now)
    if status != said:
        writes.append(PutStatus(there.key, dump(status), uid=there.uid))
    return writes


def _ranges(facts: Facts, created: str, nodes: Sequence[Node]) -> JSON:
    """The fields of the spec that say where this node's pods are; none of them when that is nowhere."""
    mine = claim(facts.name, created, facts.pods, nodes) if facts.pods is not None else ""
    return {"podCIDR": mine, "podCIDRs": [mine]} if mine else {}


def is_unseen(node: Node) -> bool:
    """Whether a Node says that nobody sees the node: Ready is Unknown, or was never said, and both taints are there."""
    ready = _ready(node.status)
    return (ready is None or ready.status == "Unknown") and not _lacking(node)


def unseen(there: Object, node: Node, now: float) -> list[Write]:
    """The writes that say of another node (its object, and that parsed) that nobody sees it: Ready is Unknown, it is tainted.

    Other taints, and whether it is cordoned, stay as people have them.
    """
    writes: list[Write] = []
    lacking = _lacking(node)
    if lacking:
        value = whole(there)
        spec = value.setdefault("spec", {})
        added = [{"key": UNREACHABLE, "effect": effect, "timeAdded": format_time(now)} for effect in lacking]
        spec["taints"] = [*spec.get("taints", ()), *added]
        writes.append(Put(there.key, split(value)[0], rv=there.rv))
    ready = _ready(node.status)
    if ready is not None and ready.status != "Unknown":
        unknown = Condition("Ready", "Unknown", "NodeStatusUnknown", STOPPED, format_time(now))
        conditions = tuple(unknown if each.type == "Ready" else each for each in node.status.conditions)
        status = msgspec.structs.replace(node.status, conditions=conditions)
        writes.append(PutStatus(there.key, dump(status), uid=there.uid))
    return writes


def seen(there: Object, node: Node) -> list[Write]:
    """The writes that take those taints away again. That it is Ready, a node says itself."""
    if not any(_ours(each.key, each.effect, *EFFECTS) for each in node.spec.taints):
        return []
    value = whole(there)
    kept = [each for each in value["spec"]["taints"] if not _ours(each["key"], each["effect"], *EFFECTS)]
    value["spec"]["taints"] = kept
    if not kept:
        del value["spec"]["taints"]
    return [Put(there.key, split(value)[0], rv=there.rv)]


def _lacking(node: Node) -> list[str]:
    """The effects for which the taint of an unseen node is not there."""
    return [effect for effect in EFFECTS if not any(_ours(each.key, each.effect, effect) for each in node.spec.taints)]


def _ours(key: str, effect: str, *effects: str) -> bool:
    return key == UNREACHABLE and effect in effects


def _ready(status: NodeStatus) -> Condition | None:
    return next((each for each in status.conditions if each.type == "Ready"), None)


def _status(said: NodeStatus, facts: Facts, now: float) -> NodeStatus:
    before = _ready(said)
    ready = Condition("Ready", "True", "EdgedReady", "edged is running.", format_time(now))
    if before is not None and before.status == "True":
        ready = before
    capacity = {"cpu": str(facts.cpus), "memory": f"{facts.memory // 1024}Ki", "pods": str(MAX_PODS)}
    addresses = (NodeAddress("InternalIP", facts.host_ip), NodeAddress("Hostname", facts.name))
    return NodeStatus(addresses, capacity, capacity, (ready,), facts.info)
