"""`device`, MQTT: updates of a twin, each answered once it is on the disk: a daemon, mosquitto, a client, each a process."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from build.fleet import ROOT, temporary
from build.group import Group, OnLoopback
from tests.bench.figures import Figure
from tests.device.broker import Mosquitto

ONE_BY_ONE = 2000  # updates with window 1, for their times
WINDOWED = 10_000  # with WINDOW under way all the time
WINDOW = 64
BURST = 2000  # at once, from one client that also subscribes
MODEL: dict[str, Any] = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "DeviceModel",
    "metadata": {"name": "lamp", "namespace": "default"},
    "spec": {"properties": [{"name": "power", "type": "INT", "accessMode": "ReadWrite"}]},
}
UNITS = {
    "twin_w1_per_s": "updates/s",
    "twin_w1_p50_ms": "ms",
    "twin_w1_cpu_ms": "ms of the daemon an update",
    "twin_w64_per_s": "updates/s",
    "twin_w64_p99_ms": "ms",
    "twin_w64_cpu_ms": "ms of the daemon an update",
    "burst_answered": f"of {BURST}, in order",
}


def bench() -> Iterator[Figure]:
    """The figures."""
    found = measure()
    for figure, unit in UNITS.items():
        yield Figure("device", figure, found[figure], unit)


def measure() -> dict[str, Any]:
    """The figures by name, as the client saw them."""
    with (
        temporary("edged-bench-bus") as folder,
        Mosquitto(folder) as broker,
        Group(folder, OnLoopback(1), peers=False) as group,
    ):
        (node,) = group.nodes
        group.found(mesh={"enabled": False}, bus={"mqtt": f"tcp://127.0.0.1:{broker.port}"})
        group.start_nodes(node)
        local = group.local(node)
        local.create(MODEL)
        spec = {"deviceModelRef": {"name": "lamp"}, "nodeName": node, "protocol": {"protocolName": "mqtt"}}
        device = {**MODEL, "kind": "Device", "spec": {**spec, "properties": [{"name": "power"}]}}
        local.create(device)
        sizes = [str(each) for each in (broker.port, group.pid(node), ONE_BY_ONE, WINDOWED, WINDOW, BURST)]
        answer: dict[str, Any] = json.loads(
            group.run(node, [sys.executable, "-m", "tests.bench.tell", *sizes], {"PYTHONPATH": str(ROOT)})
        )
        return answer
