"""Devices: which node serves one that several may serve, and when another takes over; what nobody serves. Pure.

A device with a `nodeSelector` is bound as a pod is: to the ready node that has these labels and no taint against it, of these
the one that serves the fewest devices. It moves when its node is lost (by the rules of `failover.py`; `quorum` if it says
nothing) or no longer has the labels, and another node would take it. A device without a selector is where its `nodeName` says.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from edged.control.failover import Group, Plan, patience, since
from edged.control.scheduler import avoided, unfit
from edged.control.step import Note, Step
from edged.model.core import Node, Toleration
from edged.model.devices import Device, DeviceStatus
from edged.model.failover import ANNOTATION, NEVER, QUORUM, RULES
from edged.model.kinds import BY_STRUCT
from edged.model.meta import Condition, ObjectMeta, Part
from edged.model.objects import Object, dump, split, whole
from edged.model.times import format_time
from edged.store.events import NORMAL, WARNING
from edged.store.writes import Put, PutStatus

RESOURCE = BY_STRUCT[Device].resource
SERVED = "Served"  # the condition that control says; the node that serves a device says all others
UNKNOWN = "unknown"


class _Where(Part, frozen=True):
    """Of a Device's spec, what says where it is."""

    node_name: str = ""
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()


class _Parsed(Part, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: _Where = _Where()


class Placed(NamedTuple):
    """A device: as the store has it, where it says that it is, and its rule of failover."""

    object: Object
    where: _Where
    rule: str


def read(objects: Iterable[Object]) -> list[Placed]:
    """These Devices, in the order of their keys."""
    return [_placed(obj) for obj in sorted(objects, key=lambda obj: obj.key)]


def _placed(obj: Object) -> Placed:
    parsed = msgspec.json.decode(obj.body, type=_Parsed)
    if not parsed.spec.node_selector:
        return Placed(obj, parsed.spec, NEVER)
    said = parsed.metadata.annotations.get(ANNOTATION, QUORUM)
    return Placed(obj, parsed.spec, said if said in RULES else NEVER)


class Hosts:
    """The nodes that may serve devices, and how many each serves already."""

    def __init__(self, nodes: Iterable[Node], devices: Iterable[Placed]) -> None:
        self.nodes = {node.metadata.name: node for node in nodes}
        self._load = Counter(each.where.node_name for each in devices)

    def fits(self, where: _Where, name: str) -> bool:
        """Whether a node, which is one of them, has the labels that a device asks for."""
        labels = self.nodes[name].metadata.labels
        return all(labels.get(label) == value for label, value in where.node_selector.items())

    def take(self, where: _Where) -> str | None:
        """The node that suits a device best, which now serves one more; None when none suits."""
        fit = [node for node in self.nodes.values() if unfit(where, node) is None]
        best = min(
            fit,
            key=lambda node: (avoided(where, node), self._load[node.metadata.name], node.metadata.name),
            default=None,
        )
        if best is None:
            return None
        self._load[best.metadata.name] += 1
        return best.metadata.name

    def refusals(self, where: _Where) -> str:
        """Why none takes a device, in words."""
        found = Counter(why for node in self.nodes.values() if (why := unfit(where, node)) is not None)
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(found.items()))
        return f"0/{len(self.nodes)} nodes can serve it" + (f": {reasons}" if reasons else "")


def plan(devices: Iterable[Placed], hosts: Hosts, group: Group, steady: float, now: float) -> Plan:
    """Bind what has no node, move what may be moved, and say of the rest that nobody serves it.

    `hosts` are the members; `steady` is the clock of `group.lost`, `now` the wall clock for what is written.
    """
    steps: list[Step] = []
    again = float("inf")
    for each in devices:
        where = each.where
        lost = group.lost.get(where.node_name)
        due = _due(each, hosts, group, lost)
        name = None
        if due is not None and due > steady:
            again = min(again, due)
        elif due is not None:
            name = hosts.take(where)
        if name is not None and name != where.node_name:
            steps.append(_bound(each, name, lost=lost is not None))
        elif lost is not None:
            known = where.node_name in group.nodes
            why = f"node {where.node_name}, which serves it, is lost" if known else f"there is no node {where.node_name}"
            steps += _unserved(each, f"NodeLost: {why}", now)
        elif not where.node_name and where.node_selector:
            steps += _unserved(each, f"Unbound: {hosts.refusals(where)}", now)
    return Plan(steps, again)


def _due(each: Placed, hosts: Hosts, group: Group, lost: float | None) -> float | None:
    """From when on (steady clock) a device is to go to another node; None when it stays where it is."""
    where = each.where
    if not where.node_selector:
        return None
    if not where.node_name:
        return 0.0
    if where.node_name in hosts.nodes:
        return None if hosts.fits(where, where.node_name) else 0.0
    begins, wait = since(each.rule, lost, group), patience(where.tolerations)
    return None if begins is None or wait is None else begins + wait


def _bound(each: Placed, node: str, *, lost: bool) -> Step:
    obj, before = each.object, each.where.node_name
    value = whole(obj)
    value["spec"]["nodeName"] = node
    message = f"Successfully assigned {obj.key.namespace}/{obj.key.name} to {node}"
    if before:
        message += f": node {before} is lost" if lost else f": node {before} has not its labels"
    return Step((Put(obj.key, split(value)[0], rv=obj.rv),), Note(obj, NORMAL, "Scheduled", message))


def _unserved(each: Placed, why: str, now: float) -> list[Step]:
    """Say in the status that nobody knows how the device is; nothing when it says so already. Its last readings stay."""
    obj = each.object
    reason, _, message = why.partition(": ")
    status = msgspec.json.decode(obj.status or b"{}", type=DeviceStatus)
    before = next((condition for condition in status.conditions if condition.type == SERVED), None)
    if status.state == UNKNOWN and before is not None and (before.reason, before.message) == (reason, message):
        return []
    condition = Condition(SERVED, "False", reason, message, format_time(now))
    kept = [other for other in status.conditions if other.type != SERVED]
    value = json.loads(obj.status or b"{}") | {"state": UNKNOWN, "conditions": [*kept, condition]}
    return [Step((PutStatus(obj.key, dump(value), uid=obj.uid),), Note(obj, WARNING, reason, message))]
