"""Pods of lost nodes: which are replaced or given up, and when, by the rules `quorum`, `always` and `never`. Pure.

A node that is away may run its pods still. So a pod is moved only when its rule lets this side decide, its patience is
over, and another node would take it: else it stays bound, and a node that comes back finds its pods as it left them. A
node whose pod was replaced sees another uid in its place, and ends its container.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edged.control.pods import ENDED, Owned, successor
from edged.control.scheduler import Places
from edged.control.step import Note, Step
from edged.model.apps import Deployment
from edged.model.core import Taint, Toleration
from edged.model.failover import ALWAYS, ANNOTATION, NEVER, NO_EXECUTE, QUORUM, RULES, UNREACHABLE, toleration_of
from edged.model.meta import Kind
from edged.model.objects import Object, typed
from edged.store.events import NORMAL
from edged.store.writes import Create, Delete

DEFAULT_TOLERATION_S = 15  # Kubernetes has 300: here the leader sees who is alive itself, and a neighbour can take over
LOST = Taint(UNREACHABLE, NO_EXECUTE)
EVICTED = "TaintManagerEviction"

# The kinds whose pods are replaced without being asked for it: resource -> the struct that has its template.
WORKLOADS: Mapping[str, type[Deployment]] = {"deployments.apps": Deployment}
_KINDS = frozenset(kind.__name__ for kind in WORKLOADS.values())


class Word(NamedTuple):
    """What a workload says of its pods: its annotation, and whether its template itself names a node."""

    said: str | None
    pinned: bool


SILENT = Word(None, pinned=False)


class Group(NamedTuple):
    """The nodes of the group by name, those that are lost with the time since then, and since when there is a quorum here.

    The quorum's time is None while there is none. Patience is counted from the later of both: before, another side may have
    been the majority, and what is lost here a part of it.
    """

    nodes: frozenset[str]
    lost: Mapping[str, float]
    quorum_since: float | None


def has_quorum(nodes: frozenset[str], members: frozenset[str]) -> bool:
    """Whether the members are more than half of the group's nodes, or exactly half with the lowest name among them."""
    here = 2 * len(nodes & members)
    return here > len(nodes) or (here == len(nodes) > 0 and min(nodes) in members)


class Plan(NamedTuple):
    """What to do now, and when patience with the next pod is over (the same clock as in `Group.lost`)."""

    steps: list[Step]
    again: float


def word(workload: Object) -> Word:
    """The word of a workload, of one of the kinds in WORKLOADS."""
    parsed = typed(workload, WORKLOADS[workload.key.resource])
    return Word(_annotated(parsed), pinned=bool(parsed.spec.template.spec.node_name))


def plan(pods: Iterable[Owned], owners: Mapping[str, Word], group: Group, places: Places, steady: float, now: float) -> Plan:
    """The pods of lost nodes whose time has come. `owners` has the word of each workload by uid.

    `places` are the nodes that may take a pod; what is moved takes its room there. `steady` is the clock of `group.lost`,
    `now` the wall clock that a new pod's creation is stamped with.
    """
    steps: list[Step] = []
    again = float("inf")
    for each in pods:
        begins = _since(each, rule(each, owners), group)
        wait = patience(each.pod.spec.tolerations)
        if begins is None or wait is None:
            continue
        if begins + wait > steady:
            again = min(again, begins + wait)
        elif each.pod.metadata.deletion_timestamp is not None:
            steps.append(_given_up(each))
        elif places.take(each.pod):
            steps.append(_replaced(each, now))
    return Plan(steps, again)


def rule(each: Owned, owners: Mapping[str, Word]) -> str:
    """The rule of a pod: its own annotation, else its workload's, else `quorum` for a workload's and `never` for others.

    A rule that only another version of edged knows is not guessed: the pod stays. So does one whose workload names a node.
    """
    owner = each.controller
    usual = QUORUM if owner is not None and owner.kind in _KINDS else NEVER
    said, pinned = owners.get(owner.uid, SILENT) if owner is not None else SILENT
    found = NEVER if pinned else _annotated(each.pod) or said or usual
    return found if found in RULES else NEVER


def patience(tolerations: Iterable[Toleration]) -> float | None:
    """Seconds that what is on a lost node stays bound; None for good. The first toleration that takes the taint says it."""
    toleration = toleration_of(LOST, tolerations)
    if toleration is None:
        return DEFAULT_TOLERATION_S
    seconds = toleration.toleration_seconds
    return None if seconds is None else max(0, seconds)


def _annotated(parsed: Kind) -> str | None:
    return parsed.metadata.annotations.get(ANNOTATION)


def _since(each: Owned, found: str, group: Group) -> float | None:
    """Since when this side may decide about a pod; None when it may not, or the pod's node is not lost.

    A pod that is to end on a node whose Node somebody removed may always go: that node will not end it.
    """
    lost = group.lost.get(each.pod.spec.node_name)
    going = each.pod.metadata.deletion_timestamp is not None
    if lost is None or (going and each.pod.metadata.finalizers) or (not going and each.pod.status.phase in ENDED):
        return None
    return lost if going and each.pod.spec.node_name not in group.nodes else since(found, lost, group)


def since(found: str, lost: float | None, group: Group) -> float | None:
    """Since when this side may decide, by a rule, about what is on a node that is `lost` since then; None when it may not."""
    if lost is None or found == ALWAYS:
        return lost
    return max(lost, group.quorum_since) if found == QUORUM and group.quorum_since is not None else None


def _given_up(each: Owned) -> Step:
    obj = each.object
    message = f"Removing Pod {obj.key.namespace}/{obj.key.name}: node {each.pod.spec.node_name} is lost and cannot end it"
    return Step((Delete(obj.key, rv=obj.rv, uid=obj.uid),), Note(obj, NORMAL, EVICTED, message))


def _replaced(each: Owned, now: float) -> Step:
    gone, made = successor(each, now)
    message = f"Node {each.pod.spec.node_name} is lost: this pod takes the place of the one there"
    return Step((gone, made), Note(_object(made), NORMAL, EVICTED, message))


def _object(made: Create) -> Object:
    return Object(made.key, 0, made.uid, made.body, made.status)
