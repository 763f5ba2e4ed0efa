"""`device`, the Device Mapper Interface: how many reports a second of one value each a daemon takes from a mapper.

The mapper is made with grpcio, in a process of its own, of which this module is the program.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from build.fleet import ROOT, temporary
from build.group import Group, OnLoopback
from tests.bench.figures import Figure
from tests.bench.idle import cpu_s

REPORTS = 8_000
CLIENTS = 8  # threads, each with one report under way
PROTOCOL = "bench"
WAIT_S = 60.0
DEVICES = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"
MODEL = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "DeviceModel",
    "metadata": {"name": "counter", "namespace": "default"},
    "spec": {"properties": [{"name": "count", "type": "INT", "accessMode": "ReadOnly"}]},
}


def bench() -> Iterator[Figure]:
    """The figures."""
    with temporary("edged-bench-dmi") as folder, Group(folder, OnLoopback(1), peers=False) as group:
        (node,) = group.nodes
        socket = folder / "dmi" / "dmi.sock"
        socket.parent.mkdir()
        group.found(dmi={"socket": str(socket)})
        group.start_nodes(node)
        local = group.local(node)
        local.create(MODEL)
        for client in range(CLIENTS):
            spec = {
                "deviceModelRef": {"name": "counter"},
                "nodeName": node,
                "protocol": {"protocolName": PROTOCOL, "configData": {}},
                "properties": [{"name": "count"}],
            }
            metadata = {"name": f"d{client}", "namespace": "default"}
            local.create({"apiVersion": MODEL["apiVersion"], "kind": "Device", "metadata": metadata, "spec": spec})
        cpu = cpu_s(group.pid(node))
        argv = [sys.executable, "-m", "tests.bench.device_dmi", str(socket)]
        found = json.loads(subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=WAIT_S).stdout)
        cpu = cpu_s(group.pid(node)) - cpu
        last = str(REPORTS // CLIENTS - 1)
        group.wait("the last report", lambda: reported(local.get(f"{DEVICES}/d0")) == last, WAIT_S)
        rate = REPORTS / found["seconds"]
        yield Figure("device", "dmi_per_s", rate, "1/s", note=f"{CLIENTS} at a time; target 1,000; all taken")
        yield Figure("device", "dmi_cpu_us", cpu / REPORTS * 1e6, "us", note="processor time of the daemon, a report")


def reported(device: Any) -> str:
    return str(device["status"]["twins"][0]["reported"]["value"])


def mapper(socket: Path) -> None:
    """Register, then report as fast as it is answered."""
    import grpc  # noqa: PLC0415  the other program does not need it here

    from edged.device.dmi.messages import CLASSES  # noqa: PLC0415
    from edged.device.dmi.server import MANAGER  # noqa: PLC0415

    with grpc.insecure_channel(f"unix:{socket}") as channel:

        def call(method: str) -> grpc.UnaryUnaryMultiCallable:
            return channel.unary_unary(
                MANAGER + method,
                request_serializer=CLASSES[f"{method}Request"].SerializeToString,
                response_deserializer=CLASSES[f"{method}Response"].FromString,
            )

        info = {"name": "bench", "protocol": PROTOCOL, "address": bytes(socket.with_name("bench.sock"))}
        register = CLASSES["MapperRegisterRequest"](withData=True, mapper=info)
        found = call("MapperRegister")(register, timeout=WAIT_S, wait_for_ready=True)
        assert len(found.deviceList) == CLIENTS
        report, request = call("ReportDeviceStatus"), CLASSES["ReportDeviceStatusRequest"]

        def work(client: int) -> None:
            for number in range(REPORTS // CLIENTS):
                reported = {"value": str(number), "metadata": {"timestamp": str(int(time.time() * 1000))}}
                twins = [{"propertyName": "count", "reported": reported}]
                report(request(deviceName=f"d{client}", deviceNamespace="default", reportedDevice={"twins": twins}))

        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(work, range(CLIENTS)))
        sys.stdout.write(json.dumps({"seconds": time.monotonic() - began}) + "\n")


if __name__ == "__main__":
    mapper(Path(sys.argv[1]))
