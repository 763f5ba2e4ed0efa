from typing import Any

import msgspec
import pytest

from edged.api.cells import PRINTS
from edged.model.kinds import BY_RESOURCE, KINDS, Row

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
HOUR_AGO = "2023-11-14T21:13:20Z"


def cells(resource: str, **fields: Any) -> Any:
    row = BY_RESOURCE[resource]
    value = {"apiVersion": row.api_version, "kind": row.kind, **fields}
    value["metadata"] = {"name": "x", "creationTimestamp": HOUR_AGO, **fields.get("metadata", {})}
    printed = PRINTS[row.acts]
    found = printed.cells(msgspec.convert(value, row.acts), NOW)
    assert len(found) == len(printed.columns)
    return dict(zip([column.name for column in printed.columns], found, strict=True))


@pytest.mark.parametrize("row", KINDS)
def test_every_kind_prints_even_when_it_says_nothing(row: Row) -> None:
    assert cells(row.resource, metadata={"creationTimestamp": None})


def state(**parts: Any) -> Any:
    return {"name": "c", "state": parts}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "Pending"),
        ({"phase": "Running"}, "Running"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Running", "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})]}, "CrashLoopBackOff"),
        ({"phase": "Succeeded", "containerStatuses": [state(terminated={"exitCode": 0, "reason": "Completed"})]}, "Completed"),
        ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 3})]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 137, "signal": 9})]}, "Signal:9"),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    state(terminated={"exitCode": 0, "reason": "Completed"}),
                    {"name": "d", "ready": True, "state": {"running": {"startedAt": HOUR_AGO}}},
                ],
            },
            "Running",
        ),
    ],
)
def test_what_a_pod_does(status: Any, said: str) -> None:
    assert cells("pods", status=status)["Status"] == said


def test_a_pod() -> None:
    container = {"name": "c", "ready": True, "restartCount": 2, "state": {"running": {"startedAt": HOUR_AGO}}}
    container["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": HOUR_AGO}}
    status = {"phase": "Running", "podIP": "10.0.0.2", "containerStatuses": [container]}
    found = cells("pods", spec={"nodeName": "gw-a", "containers": [{"name": "c"}]}, status=status)
    assert (found["Ready"], found["Restarts"], found["Age"]) == ("1/1", "2 (60m ago)", "60m")
    assert (found["IP"], found["Node"]) == ("10.0.0.2", "gw-a")
    assert cells("pods", metadata={"deletionTimestamp": HOUR_AGO}, status=status)["Status"] == "Terminating"


def test_a_node() -> None:
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "gw-a"}],
        "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian"},
    }
    labels = {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/a": ""}
    found = cells("nodes", metadata={"labels": labels}, spec={"unschedulable": True}, status=status)
    assert (found["Status"], found["Roles"], found["Version"]) == ("Ready,SchedulingDisabled", "a,edge", "v1")
    assert (found["Internal-IP"], found["External-IP"], found["OS-Image"]) == ("10.0.0.1", "<none>", "Debian")
    for ready, said in (("False", "NotReady"), ("Unknown", "NotReady")):
        assert cells("nodes", status={"conditions": [{"type": "Ready", "status": ready}]})["Status"] == said


def test_the_others() -> None:
    service = cells("services", spec={"clusterIP": "9.251.1.2", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]})
    assert (service["Type"], service["Cluster-IP"], service["Port(s)"]) == ("ClusterIP", "9.251.1.2", "80/TCP,53/UDP")
    outside = cells("services", spec={"type": "ExternalName", "externalName": "db.example.com"})
    assert (outside["Cluster-IP"], outside["External-IP"], outside["Port(s)"]) == ("<none>", "db.example.com", "<none>")
    ports = [{"port": 80, "nodePort": 30080}]
    opened = cells("services", spec={"type": "NodePort", "externalIPs": ["203.0.113.1", "203.0.113.2"], "ports": ports})
    assert (opened["External-IP"], opened["Port(s)"]) == ("203.0.113.1,203.0.113.2", "80:30080/TCP")
    expressions = [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "Exists"}]
    template = {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"x": "y"}, "matchExpressions": expressions}, "template": template}
    deployment = cells("deployments.apps", spec=spec, status={"readyReplicas": 1, "updatedReplicas": 2})
    assert (deployment["Ready"], deployment["Up-to-date"], deployment["Available"]) == ("1/3", 2, 0)
    assert (deployment["Images"], deployment["Selector"]) == ("i:1", "x=y,a in (b),c")
    secret = cells("secrets", data={"a": "aGk=", "b": ""})
    assert (secret["Type"], secret["Data"], secret["Age"]) == ("Opaque", 2, "60m")
    about = {"kind": "Pod", "name": "web"}
    event = cells("events", type="Warning", reason="Killing", message="m\n", involvedObject=about, lastTimestamp=HOUR_AGO)
    assert (event["Last Seen"], event["Object"], event["Message"], event["Count"]) == ("60m", "pod/web", "m", 1)
    twins = [{"propertyName": "t", "reported": {"value": "21.5"}}]
    status = {"state": "online", "twins": twins, "lastOnlineTime": HOUR_AGO}
    device = cells("devices.devices.kubeedge.io", spec={"nodeName": "gw-a", "deviceModelRef": {"name": "m"}}, status=status)
    assert (device["Model"], device["State"], device["Values"], device["Last Online"]) == ("m", "online", "t=21.5", "60m ago")


def test_a_rule() -> None:
    spec = {"source": "bus", "target": "web"}
    status = {"successMessages": 3, "failMessages": 1, "errors": ["no route"]}
    found = cells("rules.rules.kubeedge.io", metadata={}, spec=spec, status=status)
    assert [found[name] for name in ("Source", "Target", "Succeeded", "Failed", "Last Error")] == [
        "bus",
        "web",
        3,
        1,
        "no route",
    ]
    assert cells("ruleendpoints.rules.kubeedge.io", metadata={}, spec={"ruleEndpointType": "rest"})["Type"] == "rest"
