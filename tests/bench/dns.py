"""`dns`, a part of `mesh`: how fast names are answered: a daemon with 300 services, and a client in a process of its own."""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from build.fleet import temporary
from build.group import Group, OnLoopback
from tests.bench.figures import Figure

ASK = Path(__file__).with_name("ask.py")
SERVICES = 300
QUESTIONS = 10_000  # one after the other, for their times
SECONDS = 5.0  # with WINDOW under way all the time, for their number
WINDOW = 64
NETWORK = "127.95"
WAIT_S = 60.0
UNITS = {"dns_p50_ms": "ms", "dns_p99_ms": "ms", "dns_qps": "queries/s"}


def bench() -> Iterator[Figure]:
    """The figures."""
    found = measure()
    for figure, unit in UNITS.items():
        yield Figure("mesh", figure, found[figure], unit, note=f"{SERVICES} services")


def measure() -> dict[str, Any]:
    """The figures by name, as the client saw them."""
    with temporary("edged-bench-dns") as folder, Group(folder, OnLoopback(1), peers=False) as group:
        (node,) = group.nodes
        group.found(mesh={"enabled": True, "rootless": True, "loopback": f"{NETWORK}.0.0/16"})
        group.start_nodes(node)
        local = group.local(node)
        for number in range(SERVICES):
            spec = {"selector": {"app": "none"}, "ports": [{"name": "http", "port": 20_000 + number}]}
            local.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{number}"}, "spec": spec})
        client = [sys.executable, str(ASK), f"{NETWORK}.0.53", "10053", str(SERVICES)]
        group.wait("the names", partial(group.run, node, [*client, "0", "0", "1"]), WAIT_S)
        answer: dict[str, Any] = json.loads(group.run(node, [*client, str(QUESTIONS), str(SECONDS), str(WINDOW)]))
        return answer
