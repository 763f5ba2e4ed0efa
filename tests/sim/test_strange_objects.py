"""Whatever a peer stores, as long as it is of its kind's types, no room of this node falls over it."""

import copy
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edged.control import deployments, devices, failover, lease, nodes, slices
from edged.control.pods import Owned
from edged.control.scheduler import Places, schedule
from edged.device.mapper import Mappers
from edged.device.twin import DeviceTwin
from edged.device.wiring import wire
from edged.errors import InvalidError
from edged.mesh import peek
from edged.mesh.pods import members
from edged.mesh.rules import Target, ruleset
from edged.mesh.table import build
from edged.model.core import Node, Pod, Service
from edged.model.devices import Device, DeviceModel
from edged.model.istio import DestinationRule
from edged.model.kinds import BY_KIND
from edged.model.objects import Key, Object, check_stored, split, typed
from edged.model.ranges import claim
from edged.runtime import pod as life
from edged.runtime.driver import Identity, Observed
from edged.runtime.spec import container_spec
from edged.runtime.status import Place

PODS = IPv4Network("10.42.0.0/16")
NOW = 1_786_000_000.0
UID = "7b1f2f2e-0000-4000-8000-000000000001"
JSON = dict[str, Any]


def _meta(name: str, **more: Any) -> JSON:
    return {"name": name, "namespace": "default", "uid": UID, "labels": {"app": "web"}, **more}


POD_SPEC = {
    "nodeName": "gw-a",
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "hostname": "web",
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 5}],
    "containers": [
        {
            "name": "c",
            "image": "host",
            "command": ["/bin/true", "$(A)"],
            "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"containerPort": 80, "name": "http", "hostPort": 80}],
            "resources": {"limits": {"memory": "10Mi", "cpu": 1}, "requests": {"memory": "10Mi"}},
        }
    ],
}
OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": UID, "controller": True}
READY = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
STARTED = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
SAMPLES: list[JSON] = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _meta("web-0", ownerReferences=[OWNER], deletionTimestamp="2026-01-01T00:00:00Z"),
        "spec": POD_SPEC,
        "status": {
            "phase": "Running",
            "podIP": "127.64.0.1",
            "conditions": READY,
            "containerStatuses": [{"name": "c", "restartCount": 3, "containerID": "process://1", "state": STARTED}],
        },
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta("web", generation=3),
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
            "template": {"metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}}, "spec": POD_SPEC},
        },
        "status": {"replicas": 2, "conditions": [{"type": "Available", "status": "True"}]},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta("web", creationTimestamp="2026-01-01T00:00:00Z"),
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "9.251.1.1",
            "type": "NodePort",
            "externalIPs": ["203.0.113.7"],
            "ports": [
                {"port": 80, "targetPort": "http", "name": "a", "nodePort": 30080},
                {"port": 81, "targetPort": 80, "protocol": "UDP"},
            ],
        },
    },
    {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": _meta("web", creationTimestamp="2026-01-01T00:00:00Z"),
        "spec": {"host": "web", "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpHeaderName": "X-User"}}}},
    },
    {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "gw-a", "uid": UID, "labels": {"a": "b"}},
        "spec": {
            "unschedulable": False,
            "taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}],
            "podCIDR": "10.42.7.0/24",
            "podCIDRs": ["10.42.7.0/24"],
        },
        "status": {"allocatable": {"memory": "1Gi"}, "capacity": {"memory": "1Gi"}, "conditions": READY},
    },
    {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": _meta("edged-group"),
        "spec": {"holderIdentity": "gw-b", "acquireTime": "2026-01-01T00:00:00.000000Z", "leaseTransitions": 3},
    },
    {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": _meta("m"),
        "spec": {
            "properties": [{"name": "t", "type": "INT", "accessMode": "ReadWrite", "minimum": "1", "maximum": "9"}],
            "protocol": "modbus",
        },
    },
    {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": _meta("d"),
        "spec": {
            "deviceModelRef": {"name": "m"},
            "nodeName": "gw-a",
            "nodeSelector": {"bus": "1"},
            "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 5, "effect": "NoExecute"}],
            "stateReport": {"reportCycle": 60000},
            "protocol": {"protocolName": "modbus", "configData": {"ip": "127.0.0.1", "port": 5020, "slaveID": 1}},
            "properties": [
                {
                    "name": "t",
                    "collectCycle": 500,
                    "reportCycle": 500,
                    "deadband": "0.5",
                    "reportStrategy": "OnChange",
                    "desired": {"value": "2", "metadata": {"type": "int"}},
                    "visitors": {
                        "protocolName": "modbus",
                        "configData": {"register": "HoldingRegister", "offset": 1, "limit": 1, "scale": 0.1},
                    },
                }
            ],
        },
        "status": {"state": "ok", "twins": [{"propertyName": "t", "reported": {"value": "3", "metadata": {"a": "b"}}}]},
    },
]
NUMBERS = [0, -1, 65536, 2**31 - 1, 2**63 - 1, -(2**63), 0.5, 1e308, True]
TEXTS = ["", "x" * 300, "%", "999999999%", "../..", "\0", "é\n", "9" * 40, "1e999", "nan", "1e-300", "9999-12-31T23:59:59Z"]
STRANGE = st.sampled_from([*NUMBERS, *TEXTS, "2026-13-45T99:00:00Z", [], {}, [{}], {"a": "b"}])


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*above, key)
        if isinstance(inner, dict | list):
            yield from paths(inner, (*above, key))


@st.composite
def strange(draw: st.DrawFn) -> list[Object]:
    """One object of each kind; in one of them up to three parts are replaced by something strange, or gone."""
    values = copy.deepcopy(SAMPLES)
    victim = draw(st.sampled_from(values))
    for _ in range(draw(st.integers(1, 3))):
        found = [path for path in paths(victim) if path not in (("kind",), ("apiVersion",))]
        assume(found)
        *way, last = draw(st.sampled_from(found))
        part: Any = victim
        for name in way:
            part = part[name]
        if draw(st.booleans()) or isinstance(part, list):
            part[last] = copy.deepcopy(draw(STRANGE))
        else:
            del part[last]
    return [_stored(value) for value in values]


def _stored(value: JSON) -> Object:
    row = BY_KIND[value["apiVersion"], value["kind"]]
    sample = next(each for each in SAMPLES if each["kind"] == value["kind"])["metadata"]
    try:
        body, status = split(value)
        check_stored(row.resource, body, status=False)
        if status is not None:
            check_stored(row.resource, status, status=True)
    except (InvalidError, AttributeError):
        assume(False)
    return Object(Key(row.resource, sample.get("namespace", ""), sample["name"]), 7, UID, body, status)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(strange())
def test_every_room_takes_it(objects: list[Object]) -> None:
    pod, deployment, service, rule, node, held, model, device = objects
    _control(pod, deployment, service, node)
    _bind(device, typed(node, Node))
    lease.take(held, "gw-a", NOW)
    _mesh(typed(service, Service), typed(pod, Pod), typed(rule, DestinationRule), typed(node, Node))
    _run(typed(pod, Pod))
    typed(node, Node)
    wiring = wire(typed(device, Device), typed(model, DeviceModel), Mappers(Path()).find)
    twin = DeviceTwin(wiring, typed(device, Device).status, 0.0, Random(1))
    twin.status(1.0, NOW)
    if wiring.properties:
        twin.connected(0.0, NOW)
        twin.task(1.0)
        twin.lost("away", 2.0)
        twin.status(3.0, NOW)


def _bind(device: Object, node: Node) -> None:
    things = devices.read([device])
    group = failover.Group(frozenset({"gw-a", "gw-b"}), {"gw-a": 0.0}, 0.0)
    devices.plan(things, devices.Hosts([node], things), group, 60.0, NOW)


def _mesh(service: Service, pod: Pod, rule: DestinationRule, node: Node) -> None:
    by_address = members(PODS, [service], [pod], [node], "gw-a")
    table = build([service], [pod], "gw-a", rules=[rule], by_address=by_address)
    assert all(IPv4Address(address) in PODS for address in by_address.at)
    assert by_address.own is None or by_address.own.subnet_of(PODS), "it is part of a ruleset"
    table.called(pod.status.pod_ip, 80)
    assert claim("gw-a", "", PODS, [node]) in map(str, PODS.subnets(new_prefix=24))
    targets = {}
    for door, called in table.doors.items():
        entry = table.entries[called.name]
        endpoints = entry.ports[called.port].endpoints
        assert all(0 < port < 1 << 16 for port in (door.port, *(each.port for each in endpoints)))
        assert door.protocol in ("TCP", "UDP")
        assert not {"\n", ";", "}"} & set("".join((door.address, *(each.ip for each in endpoints)))), "it is part of a ruleset"
        assert table.admits(called, "default") in (True, False)
        targets[door] = Target(4000, tuple((each.ip, each.port) for each in endpoints), entry.policy.kind)
        peek.header(b"GET / HTTP/1.1\r\nx-user: a\r\n\r\n", entry.policy.header)
    ruleset(targets, "169.254.96.16", ())


def _control(pod: Object, deployment: Object, service: Object, node: Object) -> None:
    slices.reconcile([service], [], [typed(pod, Pod)], set(), {}.get, NOW)
    pods = [Owned.of(pod), Owned.of(pod._replace(body=pod.body.replace(b"nodeName", b"x")))]
    parsed = typed(node, Node)
    deployments.reconcile(deployment, pods, {}.get, NOW, {"gw-a"})
    deployments.orphans(pods, set(), NOW)
    schedule(pods, Places([parsed], [each.pod for each in pods]), NOW)
    nodes.is_unseen(parsed)
    nodes.unseen(node, parsed, NOW)
    nodes.seen(node, parsed)
    group = failover.Group(frozenset({"gw-a", "gw-b"}), {each.pod.spec.node_name: 0.0 for each in pods}, 0.0)
    failover.plan(pods, {deployment.uid: failover.word(deployment)}, group, Places([parsed], []), 1e9, NOW)


def _run(pod: Pod) -> None:
    place = Place("10.0.0.1", "process")
    identity = Identity("gw-a", "default", "web-0", UID, "c", 0, 0, "0123456789abcdef", 30)
    for seen in ([], [Observed("1", identity, "running", NOW - 9, NOW - 9, None, None, "", "", "127.64.0.1", "host")]):
        plan = life.decide(pod, seen, life.Memory(), NOW, place)
        for action in plan.actions:
            if isinstance(action, life.Run):
                try:
                    container_spec(pod, action, "127.64.0.1", "10.0.0.1", lambda _namespace, _name: None)
                except InvalidError:
                    continue
