from typing import Any

import msgspec

from edged.model.core import Container, ContainerPort, Event, Node, NodeSystemInfo, Pod, PodSpec, Service


def test_kubernetes_spelling_where_it_is_not_camel_case() -> None:
    info = NodeSystemInfo(machine_id="a", system_uuid="b", boot_id="c", os_image="d")
    assert msgspec.to_builtins(info) == {"machineID": "a", "systemUUID": "b", "bootID": "c", "osImage": "d"}
    assert msgspec.to_builtins(ContainerPort(80, host_ip="127.0.0.1")) == {"containerPort": 80, "hostIP": "127.0.0.1"}
    status = {"podIP": "10.0.0.1", "hostIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.1"}]}
    pod = msgspec.convert({"apiVersion": "v1", "kind": "Pod", "status": status}, Pod)
    assert (pod.status.pod_ip, pod.status.host_ip, pod.status.pod_ips[0].ip) == ("10.0.0.1", "10.0.0.2", "10.0.0.1")


def test_what_a_manifest_leaves_out(pod: dict[str, Any], service: dict[str, Any]) -> None:
    spec = msgspec.convert(pod, Pod).spec
    expected = Container("web", image="nginx:1.27", ports=(ContainerPort(80, "http"),))
    assert spec == PodSpec(containers=(expected,))
    assert (spec.restart_policy, spec.termination_grace_period_seconds) == ("Always", 30)
    port = msgspec.convert(service, Service).spec.ports[0]
    assert (port.port, port.target_port, port.protocol) == (80, "http", "TCP")


def test_an_empty_object_of_each_kind() -> None:
    assert msgspec.convert({"apiVersion": "v1", "kind": "Node"}, Node).spec.unschedulable is False
    assert msgspec.convert({"apiVersion": "v1", "kind": "Event"}, Event).count == 1
