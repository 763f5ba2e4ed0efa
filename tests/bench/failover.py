"""`failover`: a node is killed; how long until its pod runs elsewhere, and until another leads the group. Part of `sync`.

There is no relay. Killed is the daemon with SIGKILL, and every container of its own with it, as a machine that loses power.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from build.fleet import FailedError
from build.group import Group
from build.story import is_ready
from tests.bench.figures import Figure
from tests.bench.groups import form, group_of, status

NODES = 5
WAIT_S = 120.0
LOOK_S = 0.05  # between two looks: the error of a measurement
PODS = "/api/v1/namespaces/default/pods"
UNREACHABLE = "node.kubernetes.io/unreachable"
FAST_LEASE_S = 2.0  # a pulse of each node every 0.6 s
FAST_TOLERATION_S = 0


def bench() -> Iterator[Figure]:
    """The figures: a group with defaults, its leader, a group that is told to be quick."""
    with group_of(NODES) as group:
        form(group)
        yield Figure("sync", "failover_default_s", failover(group, []), "s", note="target 30")
        yield leader(group)
    with group_of(NODES) as group:
        for node in group.nodes:
            group.configure(node, log={"level": "warning"}, group={"lease_s": FAST_LEASE_S})
        form(group)
        tolerated = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": FAST_TOLERATION_S}
        note = f"target 10; leases of {FAST_LEASE_S:.0f} s, a toleration of {FAST_TOLERATION_S} s"
        yield Figure("sync", "failover_fast_s", failover(group, [tolerated]), "s", note=note)


def failover(group: Group, tolerations: list[dict[str, object]]) -> float:
    """Seconds from the death of a pod's node to a pod of the same Deployment that is ready at another."""
    labels = {"app": "one"}
    container = {"name": "main", "image": "host", "command": ["sleep", "1000000"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "tolerations": tolerations}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    group.local(group.nodes[0]).create(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}, "spec": spec}
    )
    where = group.wait("the pod", lambda: ready_at(group, group.nodes[-1]), WAIT_S)
    witness = group.local(next(node for node in group.nodes if node != where))
    began = time.perf_counter()
    die(group, where)
    while time.perf_counter() < began + WAIT_S:
        nodes = [pod["spec"].get("nodeName") for pod in witness.get(PODS)["items"] if is_ready(pod)]
        if any(node != where for node in nodes):
            seconds = time.perf_counter() - began
            group.start_nodes(where)
            return seconds
        time.sleep(LOOK_S)
    raise FailedError(f"the pod of {where} runs nowhere else within {WAIT_S:.0f} s")


def ready_at(group: Group, node: str) -> str:
    """Where the pod runs, as a node sees it; "" while it does not."""
    return next((pod["spec"]["nodeName"] for pod in group.local(node).get(PODS)["items"] if is_ready(pod)), "")


def leader(group: Group) -> Figure:
    """From the death of the group's lease holder until a node says that another holds it."""

    def agreed() -> str:
        holders = {status(group, node).get("holder") for node in group.nodes}
        return holders.pop() or "" if len(holders) == 1 else ""

    holder = group.wait("all to agree who holds the lease", agreed, WAIT_S)
    others = [node for node in group.nodes if node != holder]
    began = time.perf_counter()
    die(group, holder)
    while time.perf_counter() < began + WAIT_S:
        if any(status(group, node).get("holder") not in (holder, None) for node in others):
            return Figure("sync", "leader_change_s", time.perf_counter() - began, "s", note="target 12")
        time.sleep(LOOK_S)
    raise FailedError(f"nobody takes the lease of {holder} within {WAIT_S:.0f} s")


def die(group: Group, node: str) -> None:
    """Kill a node's daemon and what it ran."""
    group.kill(node)
    for path in (group.folder / node / "pods").glob("*/run.json"):
        run: dict[str, Any] = json.loads(path.read_bytes())
        for pid in (run["shim_pid"], run["pid"]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
