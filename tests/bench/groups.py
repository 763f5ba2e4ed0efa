"""Groups of real daemons on loopback, as the benchmarks of replication use them, and what they say of themselves."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from build import processes
from build.fleet import Fleet, temporary
from build.group import Group, OnLoopback
from build.story import is_ready

FORMED_S = 180.0
MAPS = "/api/v1/namespaces/default/configmaps"
BODY_BYTES = 1500  # of a ConfigMap, as the API answers it
SENT = re.compile(r"^edged_link_sent_bytes_total\{[^}]*\} (\S+)$", re.MULTILINE)
CLEAR_PEAK = "5"  # proc(5), clear_refs: the peak of the resident size begins anew


@contextmanager
def group_of(count: int) -> Iterator[Group]:
    """A group that knows its addresses and no relay, founded, none of it started; all that it ran ends with the block."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary("edged-bench"))
        processes.adopt_orphans()  # a pod of the process driver outlives its daemon, but not us
        group = stack.enter_context(Group(folder, OnLoopback(count)))
        stack.callback(processes.end, processes.descendants)  # all at once: one after the other takes minutes
        group.found(log={"level": "warning"})
        yield group


def form(group: Group) -> None:
    """Start all nodes; return when each knows all and finds them ready."""
    group.start_nodes(*group.nodes)
    for node in group.nodes:
        group.wait(f"{node} to see all ready", lambda node=node: all_ready(group, node), FORMED_S)  # type: ignore[misc]


def all_ready(group: Group, node: str) -> bool:
    """Whether a node sees every node of the group, ready."""
    listed = group.local(node).get("/api/v1/nodes")["items"]
    return [one["metadata"]["name"] for one in listed if is_ready(one)] == list(group.nodes)


def config_map(name: str, text: str = "") -> dict[str, Any]:
    """A ConfigMap of BODY_BYTES."""
    metadata = {"name": name, "namespace": "default"}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}
    room = BODY_BYTES - 280  # what the API adds: uid, times, version
    return {**manifest, "data": {"text": text or name.ljust(room, "x")}}


def status(fleet: Fleet, node: str) -> dict[str, Any]:
    """What `edged status --json` shows of a node."""
    found: dict[str, Any] = fleet.local(node).get("/edged/v1/status")
    return found


def sent_bytes(group: Group) -> float:
    """What all nodes have sent on their links."""
    return sum(float(value) for node in group.nodes for value in SENT.findall(group.local(node).get("/metrics")))


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """A size of a process: VmRSS is now, VmHWM its peak."""
    lines = dict(line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[what].split()[0]) * 1024 / 1e6


def forget_peak(pid: int) -> None:
    """VmHWM counts from now."""
    Path(f"/proc/{pid}/clear_refs").write_text(CLEAR_PEAK)


def percentile(values: list[float], share: float) -> float:
    """The value that a share of all does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
