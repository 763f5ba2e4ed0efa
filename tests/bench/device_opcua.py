"""`device`, OPC UA: 1,000 monitored items that change once a second each, spread over it; and a daemon with one OPC UA device.

The server (asyncua) and the node's device service run in processes of their own; this module is also their program.
"""

import asyncio
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from build.fleet import ROOT, temporary
from build.group import Group, OnLoopback
from edged.device.mapper import Mappers
from edged.device.readings import Reading
from edged.device.reporter import Outlets
from edged.device.worker import Devices
from edged.kit.executor import Worker
from edged.kit.log import Log
from edged.model.devices import Device, DeviceModel
from edged.model.objects import dump, key, typed
from edged.store.events import Recorder
from edged.store.store import open_store
from edged.store.writes import Create
from tests.bench.figures import Figure
from tests.bench.idle import smaps

ITEMS = 1000
PIECES = 20  # of a second: the server writes a twentieth of the items at a time
SETTLE_S = 8.0
MEASURE_S = 30.0
WAIT_S = 60.0
MODEL = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "DeviceModel",
    "metadata": {"name": "many", "namespace": "default"},
    "spec": {"properties": [{"name": f"v{at}", "type": "INT", "accessMode": "ReadOnly"} for at in range(ITEMS)]},
}


def device(port: int, items: int, node: str) -> dict[str, Any]:
    protocol = {"protocolName": "opcua", "configData": {"url": f"opc.tcp://127.0.0.1:{port}"}}
    properties = [{"name": f"v{at}", "visitors": {"configData": {"nodeID": f"ns=2;i={at + 1}"}}} for at in range(items)]
    spec = {"deviceModelRef": {"name": "many"}, "nodeName": node, "protocol": protocol, "properties": properties}
    return {
        "apiVersion": MODEL["apiVersion"],
        "kind": "Device",
        "metadata": {"name": "many", "namespace": "default"},
        "spec": spec,
    }


def bench() -> Iterator[Figure]:
    """The figures."""
    with temporary("edged-bench-opcua") as folder, started("serve") as server:
        port = int(line(server))
        with started("poll", str(port), str(folder)) as node:
            found = json.loads(line(node))
        yield Figure("device", "opcua_lost", found["lost"], "values", note=f"of {found['values']:,}; target 0")
        yield Figure("device", "opcua_cpu_pct", found["cpu_pct"], "%", note="of a core, the device service; target 8")
        yield Figure("device", "opcua_age_p50_ms", found["p50_ms"], "ms")
        yield Figure("device", "opcua_age_p99_ms", found["p99_ms"], "ms", note="source's time to a reading; target 250")
        yield Figure("device", "opcua_rss_mb", found["rss_mb"], "MB", note=f"of that process, with {ITEMS} items")
        yield Figure("device", "rss_opcua_mb", daemon_rss(folder, port), "MB", note="a daemon with one such device; target 85")
        server.terminate()


def daemon_rss(folder: Path, port: int) -> float:
    """Memory of a whole daemon with one device of one property, MB."""
    with Group(folder, OnLoopback(1), peers=False) as group:
        (node,) = group.nodes
        group.found()
        group.start_nodes(node)
        local = group.local(node)
        local.create(MODEL)
        local.create(device(port, 1, node))
        path = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices/many"
        group.wait("the device", lambda: local.get(path).get("status", {}).get("state") == "ok", WAIT_S)
        time.sleep(SETTLE_S)
        return smaps(group.pid(node))["Rss"]


def started(*arguments: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "tests.bench.device_opcua", *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


async def serve() -> None:
    """The server: each item counts once a second."""
    from asyncua import Server, ua  # noqa: PLC0415  the other program does not need it here

    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    await server.register_namespace("urn:many")
    kind = ua.VariantType.Int32
    nodes = [await server.nodes.objects.add_variable(ua.NodeId(at + 1, 2), f"v{at}", 0, kind) for at in range(ITEMS)]
    async with server:
        sys.stdout.write(f"{server.bserver._server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        began, turn = time.monotonic(), 0
        while True:
            turn += 1
            for node in nodes[turn % PIECES :: PIECES]:
                value = ua.DataValue(ua.Variant(turn // PIECES, kind), SourceTimestamp=datetime.now(UTC))
                await node.write_value(value)
            await asyncio.sleep(max(0.0, began + turn / PIECES - time.monotonic()))


async def poll(port: int, folder: Path) -> None:
    """The node's device service over a store on the disk; what it gives on is counted."""
    values: dict[str, list[int]] = {}
    ages: list[float] = []

    def take(_namespace: str, _name: str, readings: Sequence[Reading]) -> None:
        now = time.time() * 1000
        for each in readings:
            values.setdefault(each.property, []).append(int(each.value))
            ages.append(now - each.time)

    numbers = iter(range(1, 1 << 62))
    async with open_store(folder / "store", origin="gw-a", stamp=lambda: next(numbers) << 16, executor=Worker()) as store:
        await store.write(Create(key(DeviceModel, "many", "default"), "1", dump(MODEL)))
        await store.write(Create(key(Device, "many", "default"), "2", dump(device(port, ITEMS, "gw-a"))))
        recorder = Recorder(store, "edged-device", "gw-a", time.time, Log())
        outlets = Outlets(store, take, lambda *_turned: None, recorder)
        devices = Devices(outlets, "gw-a", time.time, random.Random(1), Log(), Mappers(folder), lambda _devices: None)
        async with trio.open_nursery() as nursery:
            await nursery.start(devices.run)
            await trio.sleep(SETTLE_S)
            values.clear()
            ages.clear()
            cpu = time.process_time()
            await trio.sleep(MEASURE_S)
            cpu = time.process_time() - cpu
            stored = store.get(key(Device, "many", "default"))
            assert stored is not None
            assert typed(stored, Device).status.state == "ok"
            nursery.cancel_scope.cancel()
    quantiles = statistics.quantiles(ages, n=100)
    gaps = sum(after - before - 1 for each in values.values() for before, after in itertools.pairwise(each))
    silent = (ITEMS - len(values)) * int(MEASURE_S)
    found = {
        "lost": gaps + silent,
        "values": len(ages),
        "cpu_pct": 100 * cpu / MEASURE_S,
        "p50_ms": quantiles[49],
        "p99_ms": quantiles[98],
        "rss_mb": smaps("self")["Rss"],
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        trio.run(poll, int(sys.argv[2]), Path(sys.argv[3]))
