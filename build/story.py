"""The steps of the quickstart: what edged is for, shown on real programs. Each says what it saw, or fails with the reason."""

import json
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from dnslib import DNSRecord  # type: ignore[import-untyped]

from build.fleet import MODBUS_PORT, NODES, ROOT, FailedError, Fleet, Namespaces
from build.kube import Client, Kube
from build.progress import Progress
from edged.model.kinds import DEVICES, KINDS

EXAMPLES = ROOT / "packaging" / "examples"
DEVICE = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices/thermometer"
PODS = "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb"
NOTES = "/api/v1/namespaces/default/configmaps"
HOST = "web.default.svc.cluster.local"
DNS = ("127.96.0.53", 10053)  # gw-a's without root
UNPRIVILEGED = 8000  # a service port below 1024 is served this much higher without root
REPLICAS = 2
SETPOINT = 22.5
WAIT_S = 60.0  # for what takes a second or two on an idle machine

FETCH = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=5).read())"


class Story:
    """The whole way once, on a fleet whose programs are not started yet."""

    def __init__(self, fleet: Fleet, progress: Progress, *, runtime: str, kubectl: bool) -> None:
        self._fleet, self._progress = fleet, progress
        self._runtime, self._kubectl = runtime, kubectl
        self._kubes: dict[str, Kube] = {}
        self._pods: dict[str, Any] = {}

    def tell(self) -> None:
        """All steps in their order."""
        for title, step in (
            ("a fleet, a relay, two nodes", self._begin),
            ("apply the manifests at gw-a", self._apply),
            (f"{REPLICAS} pods run on gw-b", self._run),
            ("call gw-b's pods by name from gw-a", self._call),
            ("gw-a's thermometer, seen at gw-b", self._measure),
            ("set the thermometer from gw-b", self._set),
            ("kill the relay and gw-b's daemon", self._kill),
            ("gw-b starts again without a relay", self._alone),
            ("the relay is back: one truth again", self._reunite),
        ):
            with self._progress.step(title) as seen:
                seen.extend(step())

    def _begin(self) -> list[str]:
        fleet = self._fleet
        fleet.start(
            "thermometer", [sys.executable, ROOT / "build" / "modbus-server", "--port", str(fleet.site.modbus)], where="gw-a"
        )
        printed = fleet.lines["thermometer"]
        fleet.wait("the Modbus server", lambda: "listening" in printed.read_text(), WAIT_S, alive="thermometer")
        fleet.start_relay()
        for node in NODES:
            self._kubes[node] = fleet.start_node(node)
        for kube in self._kubes.values():
            fleet.wait("both nodes to know each other", partial(all_ready, kube), WAIT_S)
        return [fleet.site.title, f"relay wss://{fleet.site.relay}; runtime {self._runtime}; gw-a and gw-b Ready"]

    def _apply(self) -> list[str]:
        web = EXAMPLES / ("web.yaml" if self._runtime == "docker" else "web-host.yaml")
        files = (web, self._thermometer())
        if self._kubectl:
            return [self._fleet.kubectl("gw-a", "apply", "-f", file) for file in files]
        for file in files:
            self._kubes["gw-a"].apply(file)
        return [f"{file.name} (kubectl is not here: by the API itself)" for file in files]

    def _thermometer(self) -> Path:
        """The example; with another port where the machine's own is not for us to take."""
        example = EXAMPLES / "thermometer.yaml"
        if self._fleet.site.modbus == MODBUS_PORT:
            return example
        copy = self._fleet.folder / example.name
        copy.write_text(example.read_text().replace(f"port: {MODBUS_PORT}\n", f"port: {self._fleet.site.modbus}\n"))
        return copy

    def _run(self) -> list[str]:
        def ready() -> list[Any]:
            pods = self._kubes["gw-a"].get(PODS)["items"]
            return pods if len(pods) == REPLICAS and all(is_ready(pod) for pod in pods) else []

        pods = self._fleet.wait(f"{REPLICAS} pods to be ready", ready, WAIT_S)
        self._pods = {pod["metadata"]["name"]: running(pod) for pod in pods}
        return [f"{pod['metadata']['name']} on {pod['spec']['nodeName']} at {pod['status']['podIP']}" for pod in pods]

    def _call(self) -> list[str]:
        answers: dict[str, float] = {}

        def every_pod_answered() -> bool:
            began = time.monotonic()
            answers.setdefault(self._fetch(), time.monotonic() - began)
            return len(answers) == REPLICAS

        self._fleet.wait(f"an answer from each pod of http://{HOST}/", every_pod_answered, WAIT_S)
        return [f"http://{HOST}/", *(text.strip() for text in answers)]

    def _fetch(self) -> str:
        """What the service answers to a program at gw-a."""
        if isinstance(self._fleet.site, Namespaces):
            url = f"http://{HOST}/"
        else:
            url = f"http://{lookup(HOST, DNS)}:{80 + UNPRIVILEGED}/"
        return self._fleet.run("gw-a", [sys.executable, "-c", FETCH, url])

    def _measure(self) -> list[str]:
        seen: list[str] = []

        def changed() -> bool:
            value = reported(self._kubes["gw-b"].get(DEVICE), "temperature")
            if value and value not in seen:
                seen.append(value)
            return len(seen) == 2

        self._fleet.wait("two temperatures at gw-b", changed, WAIT_S)
        return [f"{' °C, then '.join(seen)} °C"]

    def _set(self) -> list[str]:
        change = [{"op": "replace", "path": "/spec/properties/1/desired/value", "value": str(SETPOINT)}]
        if self._kubectl:
            self._fleet.kubectl("gw-b", "patch", "device", "thermometer", "--type=json", "-p", json.dumps(change))
        else:
            self._kubes["gw-b"].patch(DEVICE, change)
        line = f"setpoint {round(SETPOINT * 10)}"

        def written() -> bool:
            return line in self._fleet.lines["thermometer"].read_text().splitlines()

        self._fleet.wait(f'the Modbus server to print "{line}"', written, WAIT_S)
        return [f"desired {SETPOINT} °C at gw-b; the Modbus server on gw-a printed: {line}"]

    def _kill(self) -> list[str]:
        self._fleet.kill("relay")
        self._fleet.kill("gw-b")
        return ["both by SIGKILL"]

    def _alone(self) -> list[str]:
        fleet = self._fleet
        self._kubes["gw-b"] = fleet.start_node("gw-b")
        kube = self._kubes["gw-b"]
        note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "written-alone"}, "data": {"by": "gw-b"}}
        kube.create(note)
        if kube.get(f"{NOTES}/written-alone")["data"] != note["data"]:
            raise FailedError("gw-b does not read what it wrote")
        fleet.wait("gw-b to see its pods ready", lambda: self._ready_at("gw-b"), WAIT_S)
        now = {pod["metadata"]["name"]: running(pod) for pod in kube.get(PODS)["items"]}
        if now != self._pods:
            raise FailedError(f"gw-b's pods are not what they were: before {self._pods}, now {now}")
        return ["the same containers, never restarted", "its API reads, and took a ConfigMap"]

    def _ready_at(self, node: str) -> bool:
        pods = self._kubes[node].get(PODS)["items"]
        return len(pods) == REPLICAS and all(is_ready(pod) for pod in pods)

    def _reunite(self) -> list[str]:
        self._fleet.start_relay()
        fleet, found = self._fleet, {}

        def equal() -> bool:
            found.update({node: everything(kube) for node, kube in self._kubes.items()})
            return found["gw-a"] == found["gw-b"] and "ConfigMap default/written-alone" in found["gw-a"]

        try:
            fleet.wait("both stores to be equal", equal, WAIT_S)
        except FailedError as error:
            left, right = (found.get(node, {}) for node in NODES)
            differing = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
            raise FailedError(f"{error}; they differ in {', '.join(differing) or 'nothing'}") from error
        pods = self._kubes["gw-a"].get(PODS)["items"]
        if {pod["metadata"]["name"]: running(pod) for pod in pods} != self._pods:
            raise FailedError("a pod was restarted when the relay came back")
        equals = f"{len(found['gw-a'])} objects, equal at gw-a and gw-b"
        return [equals, "gw-b's ConfigMap is at gw-a; no pod was restarted", *self._measure()]


def is_ready(pod: Any) -> bool:
    """Whether the pod's condition Ready is true."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def all_ready(kube: Kube) -> bool:
    """Whether every node of the fleet is known at this API, and ready."""
    return [node["metadata"]["name"] for node in kube.get("/api/v1/nodes")["items"] if is_ready(node)] == list(NODES)


def running(pod: Any) -> list[tuple[str, str, int]]:
    """What a restart would change: each container's id, start time and restart count."""
    return [
        (one["containerID"], one["state"]["running"]["startedAt"], one.get("restartCount", 0))
        for one in pod["status"]["containerStatuses"]
    ]


def reported(device: Any, name: str) -> str:
    """The value that a device's twin reports for a property; empty when there is none yet."""
    twins = device.get("status", {}).get("twins", [])
    return next((twin["reported"]["value"] for twin in twins if twin["propertyName"] == name and "reported" in twin), "")


def everything(kube: Client) -> dict[str, Any]:
    """All objects of a store by kind and name, without the number that each node gives to its own changes.

    And without what devices read: that goes on changing while one store is read after the other.
    """
    objects = {}
    for row in KINDS:
        prefix = f"/apis/{row.api_version}" if row.group else f"/api/{row.api_version}"
        for item in kube.get(f"{prefix}/{row.plural}")["items"]:
            metadata = item["metadata"]
            metadata.pop("resourceVersion")
            if row.group == DEVICES:
                item.pop("status", None)
            objects[f"{row.kind} {metadata.get('namespace', '')}/{metadata['name']}"] = item
    return objects


def lookup(name: str, server: tuple[str, int]) -> str:
    """The address that a DNS server answers for a name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2)
        asking.sendto(DNSRecord.question(name).pack(), server)
        answer = DNSRecord.parse(asking.recv(4096))
    if not answer.rr:
        raise FailedError(f"{name} has no address")
    return str(answer.rr[0].rdata)
