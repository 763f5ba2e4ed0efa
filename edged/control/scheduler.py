"""Which node a pod goes to: the one its spec names, those its selector allows, of these the one with most free memory. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from edged.errors import InvalidError
from edged.model import quantity
from edged.model.core import Node, Pod
from edged.model.meta import Condition
from edged.model.objects import Object, dump, split, typed, whole
from edged.model.times import format_time
from edged.store.writes import Put, PutStatus, Write

DEFAULT_REQUEST = 200 << 20  # bytes a pod counts for that asks for no memory: as Kubernetes' own scorer has it
KEEPS_AWAY = ("NoSchedule", "NoExecute")
ENDED = ("Succeeded", "Failed")


class Decision(NamedTuple):
    """What becomes of one pod: the write, and the event to record about it."""

    pod: Object
    write: Write
    reason: str
    message: str


class _Place(NamedTuple):
    node: Node
    free: int
    pods: int


def schedule(pods: Iterable[Object], nodes: Iterable[Object], now: float) -> list[Decision]:
    """Bind every pod that has no node yet, or say why it cannot be. A pod that is bound stays where it is."""
    parsed = [(obj, typed(obj, Pod)) for obj in pods]
    places = _places([typed(obj, Node) for obj in nodes], [pod for _, pod in parsed])
    decisions = []
    for obj, pod in parsed:
        if pod.spec.node_name or pod.metadata.deletion_timestamp is not None or pod.status.phase in ENDED:
            continue
        chosen, refusals = _choose(pod, places)
        if chosen is None:
            decision = _unschedulable(obj, pod, len(places), refusals, now)
            if decision is not None:
                decisions.append(decision)
            continue
        name = chosen.node.metadata.name
        places[name] = _Place(chosen.node, chosen.free - _request(pod), chosen.pods + 1)
        decisions.append(
            Decision(obj, _bound(obj, name), "Scheduled", f"Successfully assigned {obj.key.namespace}/{obj.key.name} to {name}")
        )
    return decisions


def _places(nodes: list[Node], pods: list[Pod]) -> dict[str, _Place]:
    places = {}
    for node in nodes:
        name = node.metadata.name
        there = [pod for pod in pods if pod.spec.node_name == name and pod.status.phase not in ENDED]
        free = _bytes(node.status.allocatable.get("memory", "0")) - sum(map(_request, there))
        places[name] = _Place(node, free, len(there))
    return places


def _choose(pod: Pod, places: dict[str, _Place]) -> tuple[_Place | None, Counter[str]]:
    refusals: Counter[str] = Counter()
    fit = []
    for place in places.values():
        refusal = _refusal(pod, place)
        if refusal is None:
            fit.append(place)
        else:
            refusals[refusal] += 1
    best = min(fit, key=lambda place: (-place.free, place.pods, place.node.metadata.name), default=None)
    return best, refusals


def _refusal(pod: Pod, place: _Place) -> str | None:
    """Why a pod cannot go to a node, in the words of Kubernetes' scheduler; None when it can."""
    node = place.node
    if any(node.metadata.labels.get(label) != value for label, value in pod.spec.node_selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    if node.spec.unschedulable:
        return "node(s) were unschedulable"
    if not any(each.type == "Ready" and each.status == "True" for each in node.status.conditions):
        return "node(s) were not ready"
    if any(taint.effect in KEEPS_AWAY for taint in node.spec.taints):
        return "node(s) had untolerated taint(s)"
    if _asked(pod) > place.free:
        return "Insufficient memory"
    return None


def _asked(pod: Pod) -> int:
    """The memory that a pod requests, in bytes."""
    return sum(_bytes(str(each.resources.requests.get("memory", 0))) for each in pod.spec.containers)


def _bytes(text: str) -> int:
    """An amount of memory; none for one that is no quantity, which only another version of edged takes."""
    try:
        return quantity.ceil(text)
    except InvalidError:
        return 0


def _request(pod: Pod) -> int:
    return _asked(pod) or DEFAULT_REQUEST


def _bound(obj: Object, node: str) -> Write:
    value = whole(obj)
    value["spec"]["nodeName"] = node
    return Put(obj.key, split(value)[0], rv=obj.rv)


def _unschedulable(obj: Object, pod: Pod, nodes: int, refusals: Counter[str], now: float) -> Decision | None:
    """Say in the pod's status why it waits; None when it says so already."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(refusals.items()))
    message = f"0/{nodes} nodes are available" + (f": {reasons}." if reasons else ".")
    before = next((each for each in pod.status.conditions if each.type == "PodScheduled"), None)
    if before is not None and (before.status, before.message) == ("False", message):
        return None
    since = before.last_transition_time if before is not None and before.status == "False" else format_time(now)
    condition = Condition("PodScheduled", "False", "Unschedulable", message, since)
    status = {"phase": "Pending", "conditions": [condition]}
    return Decision(obj, PutStatus(obj.key, dump(status), uid=obj.uid), "FailedScheduling", message)
