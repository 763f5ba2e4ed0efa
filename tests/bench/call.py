"""`call`: a program at gw-a calls a pod of gw-b by its service's name; beside it plain TCP between the same two places."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from build.fleet import FailedError, Fleet, Namespaces
from build.lab import NAT, SITE
from build.quickstart import make
from build.story import HOST, WAIT_S, all_ready, is_ready
from tests.bench.figures import Figure

PEER = Path(__file__).with_name("peer.py")
PORT = 9000  # of the pod, and of its service
OPEN_PORT = 9001  # of plain TCP: NAT-B is told to let it in
UNITS = {"stream_mb_s": "MB/s", "rtt_p50_us": "us", "rtt_p99_us": "us"}
NAME = HOST.replace("web", "bench", 1)

FORWARD = f"""
table ip bench {{
    chain prerouting {{
        type nat hook prerouting priority dstnat
        iifname "wan" tcp dport {OPEN_PORT} dnat to {SITE["b"]}
    }}
}}
insert rule inet nat forward iifname "wan" tcp dport {OPEN_PORT} accept
"""


def bench() -> Iterator[Figure]:
    """The figures; root only, since loopback has no two places."""
    with ExitStack() as stack:
        fleet = make(stack, None, "process")
        if not isinstance(fleet.site, Namespaces):
            raise FailedError("this benchmark needs network namespaces: run it as root")
        path = begin(fleet)
        fleet.site.lab.run("nat-b", ["nft", "-f", "-"], text=FORWARD)
        fleet.start("plain", [sys.executable, PEER, "serve", SITE["b"], str(OPEN_PORT)], where="gw-b")
        plain = fleet.wait("plain TCP", lambda: measure(fleet, NAT["b"], OPEN_PORT), WAIT_S)
        named = fleet.wait("the service", lambda: measure(fleet, NAME, PORT), WAIT_S)
    for figure, unit in UNITS.items():
        yield Figure("call", figure, named[figure], unit, plain[figure], f"path {path}")


def begin(fleet: Fleet) -> str:
    """A linked fleet with a pod on gw-b and a service for it. Returns the path of the link."""
    fleet.start_relay()
    fleet.start_node("gw-b")
    kube = fleet.start_node("gw-a")
    fleet.wait("both nodes to know each other", lambda: all_ready(kube), WAIT_S)
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    command = [sys.executable, str(PEER), "serve", "$(POD_IP)", str(PORT)]
    container = {"name": "main", "image": "host", "command": command, "env": [address]}
    spec = {"nodeName": "gw-b", "terminationGracePeriodSeconds": 1, "containers": [container]}
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bench", "labels": {"app": "bench"}}, "spec": spec})
    ports = {"selector": {"app": "bench"}, "ports": [{"port": PORT}]}
    kube.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bench"}, "spec": ports})
    fleet.wait("the pod", lambda: is_ready(kube.get("/api/v1/namespaces/default/pods/bench")), WAIT_S)
    peers = json.loads(fleet.edged("status", "--json", "--config", fleet.config("gw-a")))["peers"]
    return str(peers[0]["path"])


def measure(fleet: Fleet, host: str, port: int) -> dict[str, Any]:
    """The figures of one way, as a program at gw-a sees it."""
    done = fleet.run("gw-a", [sys.executable, PEER, "measure", host, str(port)])
    figures: dict[str, Any] = json.loads(done)
    return figures
