"""Which node a pod goes to: the one its spec names, those its selector allows, of these the one with most free memory. Pure."""

from collections import Counter
from collections.abc import Iterable

from edged.control.pods import ENDED, Owned
from edged.control.step import Note, Step
from edged.errors import InvalidError
from edged.model import quantity
from edged.model.core import Node, Pod, Taint
from edged.model.failover import NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE, UNSCHEDULABLE, Placed, toleration_of
from edged.model.meta import Condition
from edged.model.objects import Object, dump, split, whole
from edged.model.times import format_time
from edged.store.events import NORMAL, WARNING
from edged.store.writes import Put, PutStatus

DEFAULT_REQUEST = 200 << 20  # bytes a pod counts for that asks for no memory: as Kubernetes' own scorer has it
CORDONED = Taint(UNSCHEDULABLE, NO_SCHEDULE)  # what `unschedulable` means to a pod that tolerates it


class _Room:
    """What a node has left: bytes of memory, and how many pods it has already."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.free = _bytes(node.status.allocatable.get("memory", "0"))
        self.pods = 0

    def add(self, pod: Pod) -> None:
        self.free -= _request(pod)
        self.pods += 1


class Places:
    """The nodes that pods may go to, and the room they have left beside `pods`, all that there are."""

    def __init__(self, nodes: Iterable[Node], pods: Iterable[Pod]) -> None:
        self._rooms = {node.metadata.name: _Room(node) for node in nodes}
        for pod in pods:
            if (room := self._rooms.get(pod.spec.node_name)) is not None and pod.status.phase not in ENDED:
                room.add(pod)

    def __len__(self) -> int:
        return len(self._rooms)

    def take(self, pod: Pod) -> str | None:
        """The node that suits a pod best, which now has less room; None when none suits."""
        fit = [room for room in self._rooms.values() if _refusal(pod, room) is None]
        best = min(
            fit, key=lambda room: (avoided(pod.spec, room.node), -room.free, room.pods, room.node.metadata.name), default=None
        )
        if best is None:
            return None
        best.add(pod)
        return best.node.metadata.name

    def refusals(self, pod: Pod) -> Counter[str]:
        """Why nodes do not take a pod: how many of them for each reason."""
        return Counter(refusal for room in self._rooms.values() if (refusal := _refusal(pod, room)) is not None)


def schedule(pods: Iterable[Owned], places: Places, now: float) -> list[Step]:
    """Bind every pod that has no node yet, or say why it cannot be. A pod that is bound stays where it is."""
    steps = []
    for obj, pod in pods:
        if not waits(pod):
            continue
        name = places.take(pod)
        step = _unschedulable(obj, pod, places, now) if name is None else _bound(obj, name)
        if step is not None:
            steps.append(step)
    return steps


def waits(pod: Pod) -> bool:
    """Whether a pod waits for a node."""
    return not pod.spec.node_name and pod.metadata.deletion_timestamp is None and pod.status.phase not in ENDED


def unfit(spec: Placed, node: Node) -> str | None:
    """Why a pod or a device cannot go to a node, in the words of Kubernetes' scheduler; None when it can."""
    if any(node.metadata.labels.get(label) != value for label, value in spec.node_selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    if node.spec.unschedulable and toleration_of(CORDONED, spec.tolerations) is None:
        return "node(s) were unschedulable"
    if not any(each.type == "Ready" and each.status == "True" for each in node.status.conditions):
        return "node(s) were not ready"
    if _untolerated(spec, node, NO_SCHEDULE, NO_EXECUTE):
        return "node(s) had untolerated taint(s)"
    return None


def avoided(spec: Placed, node: Node) -> int:
    """How many reasons there are to prefer another node."""
    return _untolerated(spec, node, PREFER_NO_SCHEDULE)


def _untolerated(spec: Placed, node: Node, *effects: str) -> int:
    """The number of a node's taints of these effects that are not tolerated."""
    taints = (taint for taint in node.spec.taints if taint.effect in effects)
    return sum(toleration_of(taint, spec.tolerations) is None for taint in taints)


def _refusal(pod: Pod, room: _Room) -> str | None:
    return unfit(pod.spec, room.node) or ("Insufficient memory" if _asked(pod) > room.free else None)


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


def _bound(obj: Object, node: str) -> Step:
    value = whole(obj)
    value["spec"]["nodeName"] = node
    message = f"Successfully assigned {obj.key.namespace}/{obj.key.name} to {node}"
    return Step((Put(obj.key, split(value)[0], rv=obj.rv),), Note(obj, NORMAL, "Scheduled", message))


def _unschedulable(obj: Object, pod: Pod, places: Places, now: float) -> Step | None:
    """Say in the pod's status why it waits; None when it says so already."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(places.refusals(pod).items()))
    message = f"0/{len(places)} nodes are available" + (f": {reasons}." if reasons else ".")
    before = next((each for each in pod.status.conditions if each.type == "PodScheduled"), None)
    if before is not None and (before.status, before.message) == ("False", message):
        return None
    since = before.last_transition_time if before is not None and before.status == "False" else format_time(now)
    condition = Condition("PodScheduled", "False", "Unschedulable", message, since)
    status = {"phase": "Pending", "conditions": [condition]}
    write = PutStatus(obj.key, dump(status), uid=obj.uid)
    return Step((write,), Note(obj, WARNING, "FailedScheduling", message))
