"""`join`: a node joins a group that holds much, and two nodes meet that both wrote much alone. Part of `sync`."""

import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from build.fleet import FailedError
from build.group import Group
from edged.wire.sync import durable
from tests.bench.figures import Figure
from tests.bench.filled import fill
from tests.bench.groups import config_map, forget_peak, group_of, memory_mb, percentile, status

JOINED = 10_000  # ConfigMaps of 1.5 KB
CHANGES = 100_000  # small ones, on each side; the half of their names are the same on both
SMALL = "a value of some forty characters, no more"
API_WRITES, API_CLIENTS = 2_000, 8
SETTLE_S = 5.0
EQUAL_S = 600.0
OLD, NEW = "gw-02", "gw-01"  # of two nodes the one with the lower name dials at once


def bench() -> Iterator[Figure]:
    """Both, and what writing through the API takes beside it."""
    yield from joining()
    yield from merging()
    yield from writing()


class Before(NamedTuple):
    """A node that runs alone: its memory, and what it holds."""

    mb: float
    held: dict[str, int]


def joining() -> Iterator[Figure]:
    """A node that has nothing."""
    with group_of(2) as group:
        group.start_nodes(NEW)
        empty = settled(group, NEW)
        group.stop(NEW)
        start_filled(group, OLD, [config_map(f"map-{number}") for number in range(JOINED)])
        yield from meeting(group, empty, "join_10k")


def merging() -> Iterator[Figure]:
    """A node that was away, and wrote as much as those that it comes back to."""
    with group_of(2) as group:
        start_filled(group, NEW, [config_map(f"map-{number}", SMALL) for number in range(CHANGES)])
        full = settled(group, NEW)
        group.stop(NEW)
        names = range(CHANGES // 2, CHANGES // 2 + CHANGES)
        start_filled(group, OLD, [config_map(f"map-{number}", SMALL) for number in names])
        yield from meeting(group, full, "merge_100k")


def meeting(group: Group, new: Before, figure: str) -> Iterator[Figure]:
    """NEW starts and meets OLD: until both hold what either held, and how much memory either needed for it at its peak."""
    old = settled(group, OLD)
    pid = group.pid(OLD)
    forget_peak(pid)
    began = time.perf_counter()
    group.start_nodes(NEW)
    ready = time.perf_counter() - began
    group.wait("both to hold all", lambda: hold(group, old.held) and hold(group, new.held), EQUAL_S, alive=NEW)
    seconds = time.perf_counter() - began
    grown = [memory_mb(pid, "VmHWM") - old.mb, memory_mb(group.pid(NEW), "VmHWM") - new.mb]
    yield Figure(
        "sync", f"{figure}_s", seconds, "s", note=f"from the start of the process, whose API answers after {ready:.1f}"
    )
    note = f"peak over before: {grown[0]:.1f} where it was, {grown[1]:.1f} where it comes"
    yield Figure("sync", f"{figure}_rss_mb", max(grown), "MB", note=note)


def hold(group: Group, held: dict[str, int]) -> bool:
    """Whether both have all that a node held."""
    vectors = [status(group, node)["vector"] for node in (OLD, NEW)]
    return all(vector.get(origin, 0) >= seq for vector in vectors for origin, seq in held.items())


def start_filled(group: Group, node: str, manifests: list[dict[str, object]]) -> None:
    """Start a node whose store holds `manifests`."""
    fill(group.folder / node, manifests)
    group.start_nodes(node)


def settled(group: Group, node: str) -> Before:
    """A node some time after its start. What it holds in memory only goes with it, so it does not count."""
    time.sleep(SETTLE_S)
    vector = status(group, node)["vector"]
    return Before(memory_mb(group.pid(node)), {origin: seq for origin, seq in vector.items() if origin == durable(origin)})


def writing() -> Iterator[Figure]:
    """How fast one node's API takes ConfigMaps of 1.5 KB from API_CLIENTS clients, each with a connection a request."""
    with group_of(1) as group:
        group.start_nodes(*group.nodes)
        times: list[float] = []

        def client(first: int) -> None:
            door = group.local(group.nodes[0])
            for number in range(first, API_WRITES, API_CLIENTS):
                began = time.perf_counter()
                door.create(config_map(f"map-{number}"))
                times.append(time.perf_counter() - began)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(API_CLIENTS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        if len(times) < API_WRITES:
            raise FailedError(f"{API_WRITES - len(times)} writes through the API failed")
        note = f"{API_CLIENTS} clients; p50 {percentile(times, 0.5) * 1000:.1f} ms, p99 {percentile(times, 0.99) * 1000:.1f} ms"
        yield Figure("sync", "api_writes_per_s", API_WRITES / seconds, "1/s", note=note)
