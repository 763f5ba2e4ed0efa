"""Taints, what tolerates them (Kubernetes, `component-helpers/scheduling/corev1`), and the annotation of failover."""

from collections.abc import Iterable
from typing import Protocol

from edged.model.core import Taint, Toleration

ANNOTATION = "edged.io/failover"  # on a pod (or a template), or on the workload that controls it
QUORUM = "quorum"  # the side that sees a majority of the group replaces what is lost
ALWAYS = "always"  # every side does; what is there twice ends at the merge
NEVER = "never"  # a pod stays bound to its node
RULES = (QUORUM, ALWAYS, NEVER)

UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NO_SCHEDULE, NO_EXECUTE, PREFER_NO_SCHEDULE = "NoSchedule", "NoExecute", "PreferNoSchedule"
EFFECTS = (NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE)


class Placed(Protocol):
    """What goes to a node: the spec of a pod or a device, by the labels that the node has and the taints that it may have."""

    @property
    def node_selector(self) -> dict[str, str]:
        """Labels and their values."""

    @property
    def tolerations(self) -> tuple[Toleration, ...]:
        """The taints."""


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration takes a taint. An empty effect takes all effects, an empty key with Exists all keys."""
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and toleration.key != "" and toleration.value == taint.value


def toleration_of(taint: Taint, tolerations: Iterable[Toleration]) -> Toleration | None:
    """The first toleration that takes a taint: it says for how long."""
    return next((each for each in tolerations if tolerates(each, taint)), None)
