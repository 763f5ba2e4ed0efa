"""`reach`: from a write at one node's API until a watch at every node has shown it, and what the links carry for it.

Part of `sync`. The nodes take turns in being written to; each write waits until the one before is everywhere.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from build.fleet import FailedError
from build.group import Group
from tests.bench.figures import Figure
from tests.bench.groups import MAPS, config_map, form, group_of, percentile, sent_bytes
from tests.bench.idle import cpu_s

GROUPS = (5, 20, 50)
WRITES = 300
WARM_UP = 20  # writes that are not counted: imports, first statements, streams that grow
REACH_S = 30.0
WATCH_S = 3600
IDLE_S = 30.0  # to see what the links carry without writes
CPU_S = 60.0
CPU_NODES = 50


class Reach(NamedTuple):
    """One write, in seconds from its request: shown by all, shown by the node that took it, acknowledged."""

    everywhere: float
    own: float
    acknowledged: float


class Watches:
    """A watch of the ConfigMaps at every node, each read by a thread; `seen[name][node]` is when it showed one first."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.seen: dict[str, dict[str, float]] = {}
        self._news = threading.Condition()
        for node in group.nodes:  # they end with the nodes, or with us
            threading.Thread(target=self._read, args=(node,), daemon=True).start()

    def wait(self, name: str) -> dict[str, float]:
        """When each node showed `name`, once all have."""
        deadline = time.perf_counter() + REACH_S
        with self._news:
            while len(seen := self.seen.get(name, {})) < len(self._group.nodes):
                if not self._news.wait(deadline - time.perf_counter()):
                    missing = sorted(set(self._group.nodes) - set(seen))
                    raise FailedError(f"{name} is not at {', '.join(missing)} within {REACH_S:.0f} s")
        return seen

    def _read(self, node: str) -> None:
        with suppress(OSError):
            for _, obj in self._group.local(node).watch(MAPS, WATCH_S):
                now, name = time.perf_counter(), obj["metadata"]["name"]
                with self._news:
                    self.seen.setdefault(name, {}).setdefault(node, now)
                    if len(self.seen[name]) == len(self._group.nodes):
                        self._news.notify_all()


def bench() -> Iterator[Figure]:
    """The figures of each size of group; of the largest also what a node costs that does nothing."""
    for count in GROUPS:
        with group_of(count) as group:
            form(group)
            yield from of_writes(group)
            if count == CPU_NODES:
                yield idle_cpu(group)


def of_writes(group: Group) -> Iterator[Figure]:
    """How soon a write is everywhere, and how many bytes that takes a node that gets it."""
    count, watches = len(group.nodes), Watches(group)
    for number in range(WARM_UP):
        write(group, watches, f"warm-{number}")
    before = sent_bytes(group)
    time.sleep(IDLE_S)
    idle = (sent_bytes(group) - before) / IDLE_S
    before, began = sent_bytes(group), time.perf_counter()
    reaches = [write(group, watches, f"write-{number}") for number in range(WRITES)]
    sent = sent_bytes(group) - before - idle * (time.perf_counter() - began)
    everywhere, own, acknowledged = ([value * 1000 for value in values] for values in zip(*reaches, strict=True))
    note = (
        f"p50 {percentile(everywhere, 0.5):.1f}; the node itself shows it at p50 {percentile(own, 0.5):.1f}, "
        f"p99 {percentile(own, 0.99):.1f}; acknowledged at p50 {percentile(acknowledged, 0.5):.1f}"
    )
    yield Figure("sync", f"reach_{count}_p99_ms", percentile(everywhere, 0.99), "ms", note=note)
    note = f"{count} nodes; idle {idle / count:.0f} bytes a second and node"
    name = "bytes_per_write" if count == GROUPS[0] else f"bytes_per_write_{count}"
    yield Figure("sync", name, sent / WRITES / (count - 1), "bytes", note=note)


def write(group: Group, watches: Watches, name: str) -> Reach:
    """Write at the node whose turn it is, wait until it is everywhere."""
    node = group.nodes[len(watches.seen) % len(group.nodes)]
    client, manifest = group.local(node), config_map(name)
    began = time.perf_counter()
    client.create(manifest)
    acknowledged = time.perf_counter()
    seen = watches.wait(name)
    return Reach(max(seen.values()) - began, seen[node] - began, acknowledged - began)


def idle_cpu(group: Group) -> Figure:
    """Processor time of a node that does nothing; the mean of all."""
    pids = [group.pid(node) for node in group.nodes]
    before = sum(map(cpu_s, pids))
    time.sleep(CPU_S)
    used = (sum(map(cpu_s, pids)) - before) / len(pids) * 60 / CPU_S
    return Figure("sync", f"idle_cpu_{len(pids)}_s_per_min", used, "s/min")
