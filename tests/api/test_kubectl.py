"""The real kubectl against the real API: what a person types, for every kind."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from edged.identity.authority import Authority
from edged.model.objects import Key, dump
from edged.store.writes import Create, Delete, PutStatus

pytestmark = pytest.mark.tool("kubectl")

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: site}
---
apiVersion: v1
kind: Node
metadata: {name: gw-a, labels: {node-role.kubernetes.io/edge: ""}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
---
apiVersion: v1
kind: Pod
metadata: {name: single, labels: {app: single}}
spec:
  nodeName: gw-a
  containers: [{name: c, image: host, command: [sleep, "60"]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "busybox:1"}]}
---
apiVersion: v1
kind: Event
metadata: {name: single.1}
involvedObject: {kind: Pod, name: single, namespace: default, apiVersion: v1}
reason: Started
message: Started container c
type: Normal
count: 3
source: {component: edged, host: gw-a}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: thermo}
spec: {protocol: modbus, properties: [{name: temperature, type: FLOAT, accessMode: ReadOnly}]}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: kitchen}
spec:
  deviceModelRef: {name: thermo}
  nodeName: gw-a
  protocol: {protocolName: modbus}
  properties: [{name: temperature, visitors: {protocolName: modbus, configData: {register: HoldingRegister}}}]
"""
# The minor version of kubectl since which it can do these: that of Debian 12 is 1.20.
DRY_RUN, EVENTS, FIELD_VALIDATION, SUBRESOURCE = 25, 26, 25, 24
RESOURCES = (
    "namespace/site",
    "node/gw-a",
    "configmap/settings",
    "pod/single",
    "service/web",
    "deployment.apps/web",
    "event/single.1",
    "devicemodel.devices.kubeedge.io/thermo",
    "device.devices.kubeedge.io/kitchen",
)


@pytest.fixture
async def applied(kubectl: Any) -> None:
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert out.splitlines() == [f"{name} created" for name in RESOURCES]
    assert kubectl.said == ""


async def test_version_and_api_resources(kubectl: Any) -> None:
    assert "v1.32.0+edged" in await kubectl("version")
    names = await kubectl("api-resources", "-o", "name")
    assert set(names.split()) == {
        "configmaps", "events", "namespaces", "nodes", "pods", "secrets", "services", "deployments.apps",
        "leases.coordination.k8s.io", "devicemodels.devices.kubeedge.io", "devices.devices.kubeedge.io",
        "devicestatuses.devices.kubeedge.io",
        "serviceimports.multicluster.x-k8s.io", "endpointslices.discovery.k8s.io", "destinationrules.networking.istio.io",
        "rules.rules.kubeedge.io", "ruleendpoints.rules.kubeedge.io",
    }  # fmt: skip
    versions = [
        *("apps/v1", "coordination.k8s.io/v1", "devices.kubeedge.io/v1beta1"),
        *("discovery.k8s.io/v1", "multicluster.x-k8s.io/v1alpha1"),
        *("networking.istio.io/v1alpha3", "networking.istio.io/v1beta1", "rules.kubeedge.io/v1", "v1"),
    ]
    assert (await kubectl("api-versions")).split() == versions


NODE_PORTS = """
apiVersion: v1
kind: Service
metadata: {name: open}
spec:
  type: NodePort
  sessionAffinity: ClientIP
  externalIPs: [203.0.113.7]
  ports: [{name: web, port: 80}, {name: dns, port: 53, protocol: UDP, nodePort: 30053}]
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: db.example.com}
"""


async def test_services_of_other_types(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=NODE_PORTS)
    port = int(await kubectl("get", "svc", "open", "-o", "jsonpath={.spec.ports[0].nodePort}"))
    assert port in range(30000, 32768)
    shown = (await kubectl("get", "svc", "open", "outside")).splitlines()
    assert shown[1].split()[1:5:2] == ["NodePort", "203.0.113.7"]
    assert f"80:{port}/TCP,53:30053/UDP" in shown[1]
    assert shown[2].split()[1:5] == ["ExternalName", "<none>", "db.example.com", "<none>"]
    again = await kubectl("apply", "-f", "-", stdin=NODE_PORTS)
    assert again.count("unchanged") == 2
    await kubectl("apply", "-f", "-", stdin=NODE_PORTS.replace("name: web, port: 80", "name: web, port: 81"))
    other = int(await kubectl("get", "svc", "open", "-o", "jsonpath={.spec.ports[0].nodePort}"))
    assert other in range(30000, 32768)
    closed = NODE_PORTS.replace("type: NodePort", "type: ClusterIP").replace(", nodePort: 30053", "")
    await kubectl("apply", "-f", "-", stdin=closed)
    assert await kubectl("get", "svc", "open", "-o", "jsonpath={.spec.type} {.spec.ports[*].nodePort}") == "ClusterIP "


async def test_endpoint_slices_are_read(kubectl: Any, served: Any) -> None:
    endpoint = {"addresses": ["172.17.0.2"], "conditions": {"ready": True, "serving": True, "terminating": False}}
    body = {
        **{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [endpoint]},
        "metadata": {"name": "web-1a2b3", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "80-8080", "port": 8080, "protocol": "TCP"}],
    }
    await served.store.write(Create(Key("endpointslices.discovery.k8s.io", "default", "web-1a2b3"), "u", dump(body), None))
    shown = (await kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=web")).splitlines()
    assert shown[1].split()[:4] == ["web-1a2b3", "IPv4", "8080", "172.17.0.2"]
    await kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    assert "172.17.0.2:8080" in await kubectl("describe", "svc", "web")


RULE = """
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: web}
spec: {host: web, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}}
"""


async def test_destination_rules_in_both_versions(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=RULE)
    assert await kubectl("get", "dr", "web", "-o", "jsonpath={.apiVersion}") == "networking.istio.io/v1beta1"
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=RULE)
    newer = RULE.replace("v1alpha3", "v1beta1").replace("httpHeaderName: x-user", "useSourceIp: true")
    assert "configured" in await kubectl("apply", "-f", "-", stdin=newer)
    old = json.loads(await kubectl("get", "destinationrules.v1alpha3.networking.istio.io", "-o", "json"))
    assert [each["apiVersion"] for each in old["items"]] == ["networking.istio.io/v1alpha3"]
    wrong = RULE.replace("consistentHash: {httpHeaderName: x-user}", "simple: PASSTHROUGH")
    assert "Unsupported value" in await kubectl("apply", "-f", "-", stdin=wrong, fails=True)


async def test_apply_again_and_change(kubectl: Any, applied: Any) -> None:
    again = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert again.splitlines() == [f"{name} unchanged" for name in RESOURCES]
    changed = (
        MANIFEST.replace("replicas: 2", "replicas: 3")
        .replace("color: blue", "shade: dark")
        .replace("protocol: modbus", "protocol: opcua")
    )
    lines = (await kubectl("apply", "-f", "-", stdin=changed)).splitlines()
    assert {line.split()[0] for line in lines if line.endswith("configured")} == {
        "configmap/settings", "deployment.apps/web", "devicemodel.devices.kubeedge.io/thermo",
    }  # fmt: skip
    assert await kubectl("get", "cm", "settings", "-o", "jsonpath={.data}") == '{"shade":"dark"}'
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    if kubectl.minor >= DRY_RUN:
        await kubectl("diff", "-f", "-", stdin=changed)


async def test_apply_tells_what_is_unknown_and_what_is_not_acted_on(kubectl: Any) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    pod["spec"]["priority"] = 5
    await kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    assert kubectl.said.strip() == "Warning: spec.priority is kept, edged does not act on it yet"
    if kubectl.minor >= FIELD_VALIDATION:
        pod["spec"]["foo"] = 1
        said = await kubectl("apply", "-f", "-", stdin=json.dumps({**pod, "metadata": {"name": "q"}}), fails=True)
        assert 'strict decoding error: unknown field "spec.foo"' in said
        await kubectl("apply", "--validate=warn", "-f", "-", stdin=json.dumps({**pod, "metadata": {"name": "q"}}))
        assert 'Warning: unknown field "spec.foo"' in kubectl.said
        del pod["spec"]["foo"]
    pod["spec"]["containers"][0]["ports"] = [{"containerPort": "http"}]
    said = await kubectl("apply", "-f", "-", stdin=json.dumps({**pod, "metadata": {"name": "r"}}), fails=True)
    assert 'The Pod "r" is invalid: spec.containers[0].ports[0].containerPort: Invalid value' in said
    said = await kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(pod), fails=True)
    assert "server-side apply is not there yet" in said


async def test_get(served: Any, kubectl: Any, applied: Any) -> None:
    status = {"phase": "Running", "podIP": "10.1.0.2", "containerStatuses": [{"name": "c", "ready": True, "restartCount": 1}]}
    await served.store.write(PutStatus(Key("pods", "default", "single"), dump(status)))
    pods = (await kubectl("get", "pods")).splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert pods[1].split()[:4] == ["single", "1/1", "Running", "1"]
    wide = (await kubectl("get", "po", "-o", "wide")).splitlines()
    assert wide[1].split()[5:7] == ["10.1.0.2", "gw-a"]
    assert await kubectl("get", "po", "-l", "app=single", "-o", "name") == "pod/single\n"
    assert await kubectl("get", "po", "-l", "app!=single", "-o", "name") == ""
    assert (
        await kubectl("get", "po", "--field-selector", "spec.nodeName=gw-a,status.phase=Running", "-o", "name")
        == "pod/single\n"
    )
    everywhere = (await kubectl("get", "cm,svc,deploy,devices,devicemodels,events", "-A")).splitlines()
    assert [line.split()[:2] for line in everywhere if line.startswith("default")][:2] == [
        ["default", "configmap/settings"],
        ["default", "service/web"],
    ]
    assert json.loads(await kubectl("get", "device", "kitchen", "-o", "json"))["spec"]["nodeName"] == "gw-a"
    assert "clusterIP: 9.251." in await kubectl("get", "svc", "web", "-o", "yaml")
    assert "pod/single" in await kubectl("get", "all")
    assert "color: blue" in await kubectl("get", "cm/settings", "-o", "yaml")
    assert "gw-a   Unknown   edge" in await kubectl("get", "nodes")
    assert (await kubectl("get", "ns", "--sort-by=.metadata.name", "-o", "name")).split() == [
        "namespace/default",
        "namespace/site",
    ]
    custom = await kubectl("get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas", "--no-headers")
    assert custom.split() == ["web", "2"]
    assert 'pods "none" not found' in await kubectl("get", "pod", "none", fails=True)
    assert "doesn't have a resource type" in await kubectl("get", "jobs", fails=True)
    assert (await kubectl("get", "ev")).splitlines()[1].split()[1:4] == ["Normal", "Started", "pod/single"]
    if kubectl.minor >= EVENTS:
        assert "Started container c" in await kubectl("events", "--for", "pod/single")


def _tls(directory: Path) -> list[str]:
    """A certificate and its key, as `kubectl create secret tls` takes them."""
    bundle = Authority.create(directory / "ca", "test", datetime.now(UTC)).issue("gw-x", "site", [], datetime.now(UTC))
    files = {"cert": bundle.certificate, "key": bundle.key}
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return [f"--{name}={directory / name}" for name in files]


async def test_secrets(kubectl: Any, tmp_path: Any) -> None:
    await kubectl("create", "secret", "generic", "db", "--from-literal=password=hunter2")
    assert await kubectl("get", "secret", "db", "-o", "jsonpath={.data.password}") == "aHVudGVyMg=="
    assert (await kubectl("get", "secrets")).splitlines()[1].split()[:3] == ["db", "Opaque", "1"]
    shown = await kubectl("describe", "secret", "db")
    assert "password:  7 bytes" in shown
    assert "hunter2" not in shown
    login = ("--docker-server=registry.example", "--docker-username=u", "--docker-password=p")
    await kubectl("create", "secret", "docker-registry", "pull", *login)
    assert await kubectl("get", "secret", "pull", "-o", "jsonpath={.type}") == "kubernetes.io/dockerconfigjson"
    await kubectl("create", "secret", "tls", "web", *_tls(tmp_path))
    assert await kubectl("get", "secret", "web", "-o", "jsonpath={.type}") == "kubernetes.io/tls"
    plain = '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"stringData":{"user":"bob"}}'
    await kubectl("patch", "secret", "db", "--type=merge", "-p", '{"stringData":{"user":"bob"}}')
    stored = json.loads(await kubectl("get", "secret", "db", "-o", "json"))
    assert stored["data"] == {"password": "aHVudGVyMg==", "user": "Ym9i"}
    assert "stringData" not in stored
    assert "already exists" in await kubectl("create", "-f", "-", stdin=plain, fails=True)
    await kubectl("patch", "secret", "db", "-p", '{"immutable":true}')
    assert "field is immutable" in await kubectl("patch", "secret", "db", "-p", '{"data":{"user":"YQ=="}}', fails=True)
    await kubectl("delete", "secret", "db", "pull", "web")


async def test_create(kubectl: Any) -> None:
    """Since 1.32 these are sent as protobuf."""
    await kubectl("create", "namespace", "made")
    await kubectl("create", "configmap", "made", "--from-literal=a=b", "-n", "made")
    await kubectl("create", "deployment", "made", "--image=busybox:1", "--replicas=0", "--port=80")
    await kubectl("create", "service", "clusterip", "made", "--tcp=80:8080")
    await kubectl("run", "made", "--image=host", "--labels=a=b", "--command", "--", "sleep", "5")
    await kubectl("expose", "deployment", "made", "--name=exposed", "--port=80")
    assert await kubectl("get", "cm", "made", "-n", "made", "-o", "jsonpath={.data.a}") == "b"
    deployment = json.loads(await kubectl("get", "deploy", "made", "-o", "json"))
    assert deployment["spec"]["replicas"] == 0
    assert deployment["spec"]["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    service = json.loads(await kubectl("get", "svc", "made", "-o", "json"))
    assert service["spec"]["ports"] == [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    assert "already exists" in await kubectl("create", "ns", "made", fails=True)
    assert 'namespaces "none" not found' in await kubectl("create", "cm", "x", "-n", "none", fails=True)
    await kubectl("create", "-f", "-", stdin=MANIFEST)
    if kubectl.minor >= DRY_RUN:
        assert "dry run" in await kubectl("create", "cm", "dry", "--dry-run=server")
    assert 'configmaps "dry" not found' in await kubectl("get", "cm", "dry", fails=True)


async def test_change(kubectl: Any, applied: Any) -> None:
    await kubectl("label", "pod", "single", "tier=edge")
    await kubectl("label", "node", "gw-a", "zone=a")
    assert await kubectl("get", "po", "-l", "tier=edge", "-o", "name") == "pod/single\n"
    await kubectl("label", "pod", "single", "tier-")
    assert await kubectl("get", "po", "-l", "tier", "-o", "name") == ""
    await kubectl("annotate", "device", "kitchen", "note=by the window")
    assert await kubectl("get", "device", "kitchen", "-o", "jsonpath={.metadata.annotations.note}") == "by the window"
    await kubectl("patch", "deploy", "web", "-p", '{"spec":{"replicas":5}}')
    await kubectl("patch", "deploy", "web", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":6}]')
    await kubectl("patch", "device", "kitchen", "--type=merge", "-p", '{"spec":{"nodeName":"gw-b"}}')
    if kubectl.minor >= SUBRESOURCE:
        await kubectl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":1}}')
    await kubectl("scale", "deploy", "web", "--replicas=4", "--current-replicas=6")
    await kubectl("set", "image", "deploy/web", "c=busybox:2")
    shown = await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}")
    assert shown == "4 busybox:2"
    await kubectl("cordon", "gw-a")
    assert "SchedulingDisabled" in await kubectl("get", "no")
    await kubectl("replace", "-f", "-", stdin=MANIFEST.split("---")[2].replace("blue", "red"))
    assert await kubectl("get", "cm", "settings", "-o", "jsonpath={.data.color}") == "red"
    await kubectl("edit", "cm", "settings", editor="sed -i s/red/green/")
    assert await kubectl("get", "cm", "settings", "-o", "jsonpath={.data.color}") == "green"
    await kubectl("edit", "device", "kitchen", editor="sed -i s/gw-b/gw-c/")
    assert await kubectl("get", "device", "kitchen", "-o", "jsonpath={.spec.nodeName}") == "gw-c"


async def test_delete(served: Any, kubectl: Any, applied: Any) -> None:
    await kubectl("delete", "cm", "settings")
    assert "Terminating" not in await kubectl("get", "pods")
    await kubectl("delete", "pod", "single", "--wait=false", "--grace-period=7")
    assert "Terminating" in await kubectl("get", "pods")
    seconds = await kubectl("get", "pod", "single", "-o", "jsonpath={.metadata.deletionGracePeriodSeconds}")
    assert seconds == "7"
    done = trio.Event()

    async def wait() -> None:
        assert 'pod "single" deleted' in await kubectl("delete", "pod", "single", "--wait")
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await served.watched(1)
        assert not done.is_set()
        await served.store.write(Delete(Key("pods", "default", "single")))
    await kubectl("run", "forced", "--image=host", '--overrides={"spec":{"nodeName":"gw-a"}}')
    await kubectl("delete", "pod", "forced", "--grace-period=0", "--force")
    assert await kubectl("get", "pods", "-o", "name") == ""
    await kubectl("delete", "deploy", "web", "--cascade=orphan")
    assert "propagationPolicy" in await kubectl("delete", "svc", "web", "--cascade=foreground", fails=True)
    await kubectl("delete", "svc,devices,devicemodels,events", "--all")
    await kubectl("delete", "ns", "site")
    assert 'namespaces "default" is forbidden' in await kubectl("delete", "ns", "default", fails=True)
    assert 'pods "none" not found' in await kubectl("delete", "pod", "none", fails=True)


async def test_describe(kubectl: Any, applied: Any) -> None:
    uid = await kubectl("get", "pod", "single", "-o", "jsonpath={.metadata.uid}")
    await kubectl("patch", "event", "single.1", "--type=merge", "-p", json.dumps({"involvedObject": {"uid": uid}}))
    pod = await kubectl("describe", "pod", "single")
    assert "Node:         gw-a" in pod
    assert "Normal  Started  " in pod
    assert "Replicas:               2 desired" in await kubectl("describe", "deploy", "web")
    assert ["TargetPort:", "8080/TCP"] in [line.split() for line in (await kubectl("describe", "svc", "web")).splitlines()]
    assert "default                     single" in await kubectl("describe", "node", "gw-a")
    for name in ("ns/site", "cm/settings", "device/kitchen", "devicemodel/thermo", "ev/single.1"):
        assert name.split("/")[1] in await kubectl("describe", name)


async def test_logs(served: Any, kubectl: Any, applied: Any) -> None:
    assert await kubectl("logs", "single") == "one\ntwo\n"
    options = ("--tail=3", "--since=1m", "-p", "--timestamps", "--limit-bytes=99", "-c", "c")
    await kubectl("logs", "single", *options)
    asked, node = served.asked[-1]
    assert (node, asked.tail, asked.previous, asked.timestamps, asked.limit, asked.container) == (
        "gw-a",
        3,
        True,
        True,
        99,
        "c",
    )
    assert asked.since > 1e9
    served.follow_ends.set()
    assert await kubectl("logs", "-f", "single") == "one\ntwo\nlast\n"
    await kubectl("logs", "-l", "app=single")
    assert "container x is not valid for pod single" in await kubectl("logs", "single", "-c", "x", fails=True)
    served.unreachable = "no link to gw-a"
    assert "no link to gw-a" in await kubectl("logs", "single", fails=True)


async def test_watch(served: Any, kubectl: Any, applied: Any) -> None:
    """`get -w` prints what is there, then each change; `wait` returns when it comes true."""
    lines = []

    async def watch() -> None:
        lines.extend(await kubectl.lines(3, "get", "pods", "-w"))

    async def wait() -> None:
        await kubectl("wait", "--for=condition=Ready", "pod/single", "--timeout=50s")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        nursery.start_soon(wait)
        await served.watched(2)
        ready = {"type": "Ready", "status": "True"}
        status = {"phase": "Running", "conditions": [ready], "containerStatuses": [{"name": "c", "ready": True}]}
        await served.store.write(PutStatus(Key("pods", "default", "single"), dump(status)))
    shown = [line.split()[:3] for line in lines]
    assert shown == [["NAME", "READY", "STATUS"], ["single", "0/1", "Pending"], ["single", "1/1", "Running"]]


async def test_rollout_status(served: Any, kubectl: Any, applied: Any) -> None:
    status = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2}
    await served.store.write(PutStatus(Key("deployments.apps", "default", "web"), dump(status)))
    assert "successfully rolled out" in await kubectl("rollout", "status", "deploy/web", "--timeout=50s")
    await kubectl("rollout", "restart", "deploy/web")
    annotations = await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.metadata.annotations}")
    assert "restartedAt" in annotations
