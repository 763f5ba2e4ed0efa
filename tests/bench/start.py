"""`start`: from exec to an API that answers, of a node that is a member of a fleet already. The median of RUNS."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

from build.fleet import READY_S, Fleet
from build.quickstart import make
from tests.bench.figures import Figure

RUNS = 5
LOOK_S = 0.01  # between two looks: the error of a measurement


def bench() -> Iterator[Figure]:
    """The figure of gw-a, without a relay: a start waits for nobody."""
    with ExitStack() as stack:
        fleet = make(stack, None, "process")
        fleet.start_node("gw-a")  # makes the store and, in Python, the byte code
        fleet.stop("gw-a")
        times = [start(fleet) for _ in range(RUNS)]
    note = f"target 1.0; {RUNS} starts, from {min(times):.2f} to {max(times):.2f}"
    yield Figure("start", "ready_s", statistics.median(times), "s", note=note)


def start(fleet: Fleet) -> float:
    """One start, in seconds."""
    kube = fleet.kube("gw-a")
    began = time.perf_counter()
    fleet.start("gw-a", fleet.daemon("gw-a"))
    while time.perf_counter() < began + READY_S:
        try:
            kube.get("/readyz")
            break
        except OSError:
            time.sleep(LOOK_S)
    seconds = time.perf_counter() - began
    fleet.stop("gw-a")
    return seconds
