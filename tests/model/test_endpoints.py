import msgspec
import pytest

from edged.model.core import Node, Pod, Service, ServicePort
from edged.model.endpoints import chosen, is_lost, is_ready, target


def pod(labels: dict[str, str], ready: str | None = None) -> Pod:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready}]
    ports = [{"containerPort": 8080, "name": "http"}, {"containerPort": 53, "name": "dns", "protocol": "UDP"}]
    value = {
        **{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "labels": labels}},
        **{"spec": {"containers": [{"name": "c", "ports": ports}]}, "status": {"conditions": conditions}},
    }
    return msgspec.convert(value, Pod)


def service(selector: dict[str, str]) -> Service:
    return msgspec.convert({"apiVersion": "v1", "kind": "Service", "spec": {"selector": selector}}, Service)


def test_a_service_chooses_by_all_labels_of_its_selector() -> None:
    web, other = pod({"app": "web", "tier": "front"}), pod({"app": "db"})
    assert list(chosen(service({"app": "web"}), [web, other])) == [web]
    assert list(chosen(service({"app": "web", "tier": "back"}), [web, other])) == []
    assert list(chosen(service({}), [web, other])) == []


@pytest.mark.parametrize(("status", "expected"), [("True", True), ("False", False), (None, False)])
def test_ready(status: str | None, expected: bool) -> None:
    assert is_ready(pod({}, status)) is expected


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (ServicePort(80, target_port=9000), 9000),
        (ServicePort(80), 80),
        (ServicePort(80, target_port="http"), 8080),
        (ServicePort(80, target_port="dns"), None),
        (ServicePort(53, protocol="UDP", target_port="dns"), 53),
        (ServicePort(80, target_port="other"), None),
        (ServicePort(80, target_port=70_000), None),
    ],
)
def test_where_a_port_leads(port: ServicePort, expected: int | None) -> None:
    assert target(port, pod({})) == expected


@pytest.mark.parametrize(("status", "expected"), [("Unknown", True), ("True", False), ("False", False)])
def test_a_node_that_nobody_sees(status: str, expected: bool) -> None:
    value = {"apiVersion": "v1", "kind": "Node", "status": {"conditions": [{"type": "Ready", "status": status}]}}
    assert is_lost(msgspec.convert(value, Node)) is expected
