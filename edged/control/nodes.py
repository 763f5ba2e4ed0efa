"""The Node object: how a node describes itself, and what is said of one that nobody sees. Pure."""

from typing import NamedTuple

import msgspec

from edged.model.core import Node, NodeAddress, NodeStatus, NodeSystemInfo
from edged.model.kinds import BY_STRUCT
from edged.model.meta import JSON, Condition
from edged.model.objects import Key, Object, dump, split, typed, whole
from edged.model.times import format_time
from edged.store.writes import Create, Put, PutStatus, Write

MAX_PODS = 110  # as the kubelet's default
GROUP_LABEL = "apps.kubeedge.io/belonging-to"


class Facts(NamedTuple):
    """What a node knows of its machine and of itself. `memory` in bytes."""

    name: str
    uid: str
    group: str
    host_ip: str
    memory: int
    cpus: int
    info: NodeSystemInfo
    labels: dict[str, str]


def describe(there: Object | None, facts: Facts, now: float) -> list[Write]:
    """The writes that make this node's own Node say what is so: itself Ready, its labels beside those people gave it."""
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
        status = _status(NodeStatus(), facts, now)
        return [Create(Key(row.resource, "", facts.name), facts.uid, dump(body), dump(status))]
    writes: list[Write] = []
    value = whole(there)
    if not labels.items() <= value["metadata"].get("labels", {}).items():
        value["metadata"]["labels"] = value["metadata"].get("labels", {}) | labels
        writes.append(Put(there.key, split(value)[0], rv=there.rv))
    said = typed(there, Node).status
    status = _status(said, facts, now)
    if status != said:
        writes.append(PutStatus(there.key, dump(status), uid=there.uid))
    return writes


def unseen(there: Object, now: float) -> list[Write]:
    """The writes that say of another node that nobody here sees it. Its pods stay: a lost link is no lost node."""
    said = typed(there, Node).status
    ready = next((each for each in said.conditions if each.type == "Ready"), None)
    if ready is None or ready.status == "Unknown":
        return []
    unknown = Condition("Ready", "Unknown", "NodeStatusUnknown", "No node of the group has a link to it.", format_time(now))
    conditions = tuple(unknown if each.type == "Ready" else each for each in said.conditions)
    status = msgspec.structs.replace(said, conditions=conditions)
    return [PutStatus(there.key, dump(status), uid=there.uid)]


def _status(said: NodeStatus, facts: Facts, now: float) -> NodeStatus:
    before = next((each for each in said.conditions if each.type == "Ready"), None)
    ready = Condition("Ready", "True", "EdgedReady", "edged is running.", format_time(now))
    if before is not None and before.status == "True":
        ready = before
    capacity = {"cpu": str(facts.cpus), "memory": f"{facts.memory // 1024}Ki", "pods": str(MAX_PODS)}
    addresses = (NodeAddress("InternalIP", facts.host_ip), NodeAddress("Hostname", facts.name))
    return NodeStatus(addresses, capacity, capacity, (ready,), facts.info)
