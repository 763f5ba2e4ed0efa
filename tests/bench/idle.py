"""`idle`: what a linked node with one pod and one device costs when nothing happens.

Its device is read once a second over Modbus, and what is read stays the same.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

from build import machine
from build.fleet import ROOT, Fleet
from build.quickstart import make
from build.story import DEVICE, WAIT_S, all_ready, is_ready, reported
from tests.bench.figures import Figure
from tests.bench.groups import form, group_of

SETTLE_S = 10.0  # after the last change of the fleet, for what follows a start
MEASURE_S = 60.0
GROUP = 5  # nodes
GROUP_S = 960.0  # what is written down every quarter of an hour is in it
TICKS = 100  # a second: USER_HZ, in which /proc/PID/stat counts
HEAVY = ("asyncua", "bleak")  # what a node without such devices must not have loaded
POD = {
    "docker": {"image": "edged-quickstart/busybox", "command": ["sleep", "1000000"]},
    "process": {"image": "host", "command": ["sleep", "1000000"]},
}

# Runs the daemon as `edged run` does, and on SIGUSR1 writes down which modules it has loaded.
DAEMON = """
import json, pathlib, signal, sys
def write(*_):
    pathlib.Path(sys.argv[1]).write_text(json.dumps(sorted(sys.modules)))
signal.signal(signal.SIGUSR1, write)
from edged.__main__ import main
sys.exit(main(["run", "--config", sys.argv[2]]))
"""


def bench() -> Iterator[Figure]:
    """The figures of gw-a."""
    runtime = "docker" if machine.docker_answers() and machine.static_busybox() else "process"
    with ExitStack() as stack:
        fleet = make(stack, None, runtime)
        modules = fleet.folder / "modules.json"
        begin(fleet, runtime, modules)
        time.sleep(SETTLE_S)
        pid = fleet.pid("gw-a")
        cpu, written = cpu_s(pid), written_bytes(pid)
        time.sleep(MEASURE_S)
        minutes = MEASURE_S / 60
        memory = smaps(pid)
        yield Figure("idle", "rss_mb", memory["Rss"], "MB", note=f"target 60; runtime {runtime}, on {fleet.site.title}")
        yield Figure("idle", "pss_mb", memory["Pss"], "MB")
        yield Figure("idle", "private_dirty_mb", memory["Private_Dirty"], "MB")
        yield Figure("idle", "cpu_s_per_min", (cpu_s(pid) - cpu) / minutes, "s/min")
        yield Figure("idle", "written_kb_per_min", (written_bytes(pid) - written) / 1000 / minutes, "kB/min")
        yield from loaded(fleet, pid, modules)
        watch_temperature(fleet)
        time.sleep(SETTLE_S)
        written = written_bytes(pid)
        time.sleep(MEASURE_S)
        changing = (written_bytes(pid) - written) / 1000 / minutes
        yield Figure("idle", "written_changing_kb_per_min", changing, "kB/min", note="a reading that changes every second")
    yield from in_group()


def in_group() -> Iterator[Figure]:
    """What a node of a group without pods and devices writes, of what nodes say to each other: the one that writes most."""
    with group_of(GROUP) as group:
        form(group)
        time.sleep(SETTLE_S)
        before = {node: written_bytes(group.pid(node)) for node in group.nodes}
        time.sleep(GROUP_S)
        most = max(written_bytes(group.pid(node)) - before[node] for node in group.nodes) / 1000 / GROUP_S
        yield Figure(
            "idle", "written_group_kb_per_min", most * 60, "kB/min", note=f"of {GROUP} nodes, seen for {GROUP_S:.0f} s"
        )
        yield Figure("idle", "written_group_kb_per_day", most * 86_400, "kB/day", note="target 5,000")


def watch_temperature(fleet: Fleet) -> None:
    """The device gets its other property too, which changes every second and is reported as often."""
    _, device = yaml.safe_load_all((ROOT / "packaging" / "examples" / "thermometer.yaml").read_text())
    kube = fleet.kube("gw-a")
    kube.patch(DEVICE, {"spec": {"properties": device["spec"]["properties"]}})
    fleet.wait("the temperature", lambda: reported(kube.get(DEVICE), "temperature"), WAIT_S)


def begin(fleet: Fleet, runtime: str, modules: Path) -> None:
    """A linked fleet; gw-a has a pod and a device."""
    server = ROOT / "build" / "modbus-server"
    fleet.start("thermometer", [sys.executable, server, "--port", str(fleet.site.modbus)], where="gw-a")
    fleet.start_relay()
    fleet.start_node("gw-b")
    fleet.start("gw-a", [sys.executable, "-c", DAEMON, modules, fleet.config("gw-a")])
    kube = fleet.ready("gw-a")
    fleet.wait("both nodes to know each other", lambda: all_ready(kube), WAIT_S)
    container = {"name": "main", "imagePullPolicy": "IfNotPresent", **POD[runtime]}
    spec = {"nodeName": "gw-a", "terminationGracePeriodSeconds": 0, "containers": [container]}
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec})
    model, device = yaml.safe_load_all((ROOT / "packaging" / "examples" / "thermometer.yaml").read_text())
    del device["spec"]["properties"][0]  # the temperature, which changes; the setpoint stays
    device["spec"]["protocol"]["configData"]["port"] = fleet.site.modbus
    kube.create(model)
    kube.create(device)
    fleet.wait("the pod", lambda: is_ready(kube.get("/api/v1/namespaces/default/pods/one")), WAIT_S)
    fleet.wait("the device", lambda: reported(kube.get(DEVICE), "setpoint"), WAIT_S)


def loaded(fleet: Fleet, pid: int, modules: Path) -> Iterator[Figure]:
    """How many third-party modules are loaded, and how many of HEAVY."""
    os.kill(pid, signal.SIGUSR1)
    text = fleet.wait("the list of modules", lambda: modules.exists() and modules.read_text(), WAIT_S)
    names = {name.partition(".")[0] for name in json.loads(str(text))}
    third = sorted(names & set(packages_distributions()) - {"edged", "relay"})
    yield Figure("idle", "third_party", len(third), "modules", note=" ".join(third))
    yield Figure("idle", "unneeded", len(names & set(HEAVY)), "modules", note=f"of {', '.join(HEAVY)}; target 0")


def smaps(pid: int | str) -> dict[str, float]:
    """Sizes in MB."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e6 for words in lines}


def cpu_s(pid: int) -> float:
    """Processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def written_bytes(pid: int) -> int:
    """What it has sent to the disk so far."""
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(lines["write_bytes"])
