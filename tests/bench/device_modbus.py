"""`device`, Modbus: fifty meters of a hundred named registers each, read once a second, each reading published over MQTT.

Published by the `pushMethod` mqtt of each property: kept in the history until the broker has it (QoS 1), a topic a meter. The
meters (modbus_units.py), the broker (mosquitto) and the subscriber are other processes than the daemon. Every register is
another in each answer, so that all 4,850 properties are reported and published in each second.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt

from build.fleet import ROOT, free_ports, temporary
from build.group import Group, OnLoopback
from tests.bench.figures import Figure
from tests.bench.groups import memory_mb, percentile
from tests.bench.idle import cpu_s

METERS = 50
REGISTERS = 100  # of a meter: the first four are the time of the answer, one property; each other one is a property
SETTLE_S = 10.0
MEASURE_S = 60.0
WAIT_S = 60.0
API = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"
MADE, FIRST = "made", 4
NAMES = [f"register-{number}" for number in range(FIRST, REGISTERS)]
MODEL = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "DeviceModel",
    "metadata": {"name": "bench-meter", "namespace": "default"},
    "spec": {"properties": [{"name": name, "type": "INT", "accessMode": "ReadOnly"} for name in (MADE, *NAMES)]},
}


class Meters:
    """The meters, in a process of their own."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        argv = [sys.executable, "-m", "tests.bench.modbus_units", str(count)]
        popen = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process = stack.enter_context(popen)
        stack.callback(popen.kill)
        assert popen.stdout is not None
        self.ports: list[int] = json.loads(popen.stdout.readline())

    def asked(self) -> list[list[float]]:
        """When each was asked; they end with this."""
        said, _ = self._process.communicate(timeout=WAIT_S)
        found: list[list[float]] = json.loads(said)
        return found


class Polls(NamedTuple):
    """What the meters saw of a second after another."""

    late: list[float]  # seconds behind the schedule that the earliest poll of a meter kept
    rates: list[float]  # polls a second, by meter
    per_cycle: float  # reads of all meters in a second


def polls(asked: list[list[float]], begin: float, end: float) -> Polls:
    """Of what was asked in this time."""
    within = [[at for at in each if begin <= at < end] for each in asked]
    offsets = [[at - cycle for cycle, at in enumerate(each)] for each in within]
    late = [offset - min(each) for each in offsets for offset in each]
    rates = [(len(each) - 1) / (each[-1] - each[0]) for each in within]
    return Polls(late, rates, sum(len(each) for each in within) / (end - begin))


class Subscriber:
    """Hears what is published; `ages` has the seconds from a meter's answer to its message here."""

    def __init__(self, stack: ExitStack, port: int) -> None:
        self.ages: list[float] = []
        self.heard: set[str] = set()
        self.readings = 0
        ready = threading.Event()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_message = self._on_message
        client.on_connect = lambda *_: client.subscribe("meters/+", 0)
        client.on_subscribe = lambda *_: ready.set()
        client.connect("127.0.0.1", port)
        client.loop_start()
        stack.callback(client.loop_stop)
        stack.callback(client.disconnect)
        assert ready.wait(WAIT_S)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        now = time.monotonic()
        said = json.loads(message.payload)["readings"]
        self.heard.add(message.topic)
        self.readings += len(said)
        self.ages += [now - int(each["value"]) / 1e6 for each in said if each["property"] == MADE]


def device(name: str, node: str, port: int, broker: str) -> dict[str, Any]:
    """A meter with a property for each register, as people write them: one by one. They go to the broker, if there is one."""
    push = {"pushMethod": {"mqtt": {"address": broker, "topic": f"meters/{name}"}}} if broker else {}

    def wired(name: str, offset: int, limit: int) -> dict[str, Any]:
        config = {"register": "HoldingRegister", "offset": offset, "limit": limit}
        return {"name": name, "visitors": {"protocolName": "modbus-tcp", "configData": config}, **push}

    spec = {
        "deviceModelRef": {"name": "bench-meter"},
        "nodeName": node,
        "protocol": {"protocolName": "modbus-tcp", "configData": {"ip": "127.0.0.1", "port": port}},
        "properties": [wired(MADE, 0, FIRST), *(wired(each, FIRST + at, 1) for at, each in enumerate(NAMES))],
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": MODEL["apiVersion"], "kind": "Device", "metadata": metadata, "spec": spec}


def bench() -> Iterator[Figure]:
    """The figures."""
    yield from small()
    yield from large()


def small() -> Iterator[Figure]:
    """A node without any device, then with one; no broker is there."""
    with ExitStack() as stack:
        meters = Meters(stack, 1)
        group = node_of(stack)
        (node,) = group.nodes
        pid = group.pid(node)
        time.sleep(SETTLE_S)
        before = cpu_s(pid)
        time.sleep(MEASURE_S / 2)
        share = 100 * (cpu_s(pid) - before) / (MEASURE_S / 2)
        yield Figure("device", "none_cpu_pct", share, "%", note="no device; target 0.5")
        none = memory_mb(pid)
        group.local(node).create(MODEL)
        group.local(node).create(device("meter-0", node, meters.ports[0], ""))
        group.wait("the meter", lambda: is_ok(group, node, "meter-0"), WAIT_S)
        time.sleep(SETTLE_S)
        note = f"one meter of {1 + len(NAMES)} properties; target 55; without any device {none:.1f}"
        yield Figure("device", "rss_modbus_mb", memory_mb(pid), "MB", note=note)


def large() -> Iterator[Figure]:
    """All meters, and a broker."""
    with ExitStack() as stack:
        meters = Meters(stack, METERS)
        (port,) = free_ports(1)
        broker = stack.enter_context(subprocess.Popen(["mosquitto", "-p", str(port)], stderr=subprocess.DEVNULL))
        stack.callback(broker.terminate)
        group = node_of(stack)
        (node,) = group.nodes
        local, pid = group.local(node), group.pid(node)
        subscriber = group.wait("the broker", lambda: Subscriber(stack, port), WAIT_S)
        local.create(MODEL)
        for at, each in enumerate(meters.ports):
            local.create(device(f"meter-{at}", node, each, f"tcp://127.0.0.1:{port}"))
        group.wait("a message of each meter", lambda: len(subscriber.heard) == METERS, WAIT_S)
        time.sleep(SETTLE_S)
        begin, cpu, readings, first = time.monotonic(), cpu_s(pid), subscriber.readings, len(subscriber.ages)
        time.sleep(MEASURE_S)
        end, cpu, readings, last = time.monotonic(), cpu_s(pid) - cpu, subscriber.readings - readings, len(subscriber.ages)
        rss = memory_mb(pid)
        seen = polls(meters.asked(), begin, end)
        seconds = end - begin
        note = f"{METERS} meters, {readings / seconds:.0f} readings a second published; target 10"
        yield Figure("device", "modbus_cpu_pct", 100 * cpu / seconds, "%", note=note)
        yield Figure("device", "modbus_late_p50_ms", 1000 * percentile(seen.late, 0.5), "ms")
        yield Figure("device", "modbus_late_p99_ms", 1000 * percentile(seen.late, 0.99), "ms", note="target 30")
        yield Figure("device", "modbus_age_p50_ms", 1000 * percentile(subscriber.ages[first:last], 0.5), "ms")
        age = 1000 * percentile(subscriber.ages[first:last], 0.99)
        yield Figure("device", "modbus_age_p99_ms", age, "ms", note="from the meter's answer to the subscriber; target 60")
        yield Figure("device", "modbus_reads_per_cycle", seen.per_cycle, "reads", note=f"target {METERS}")
        yield Figure("device", "modbus_drift", sum(seen.rates) / len(seen.rates), "1/s", note="polls a second; target 1.000")
        yield Figure("device", "rss_modbus_50_mb", rss, "MB", note=f"{METERS} meters, {METERS * (1 + len(NAMES))} properties")


def node_of(stack: ExitStack) -> Group:
    """One daemon, running; it has no bus."""
    folder = stack.enter_context(temporary("edged-bench-modbus"))
    group = stack.enter_context(Group(folder, OnLoopback(1), peers=False))
    group.found(bus={"mqtt": ""}, log={"level": "warning"})
    group.start_nodes(*group.nodes)
    return group


def is_ok(group: Group, node: str, name: str) -> bool:
    """Whether a device is read."""
    return bool(group.local(node).get(f"{API}/{name}")["status"]["state"] == "ok")
