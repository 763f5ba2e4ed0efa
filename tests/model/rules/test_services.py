from collections.abc import Callable
from typing import Any

import pytest

JSON = dict[str, Any]
Wrong = Callable[[JSON], list[str]]
Changed = Callable[[JSON, JSON], list[str]]
Put = Callable[[JSON, str, Any], JSON]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("ports", [], "spec.ports: Required value"),
        ("ports", [{"port": 80}, {"port": 81}], "spec.ports[0].name: Required value"),
        ("ports", [{"name": "a", "port": 80}, {"name": "a", "port": 81}], 'spec.ports[1].name: Duplicate value: "a"'),
        (
            "ports",
            [{"name": "a", "port": 80}, {"name": "b", "port": 80}],
            'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}',
        ),
        ("ports.0.name", "a.b", 'spec.ports[0].name: Invalid value: "a.b"'),
        ("ports.0.port", 0, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ("ports.0.targetPort", 70000, "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ("ports.0.targetPort", "a--b", "must not contain consecutive hyphens"),
        ("ports.0.protocol", "tcp", 'Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'),
        (
            "type",
            "LoadBalancer",
            'spec.type: Unsupported value: "LoadBalancer": supported values: "ClusterIP", "ExternalName", "NodePort"',
        ),
        ("type", "ExternalName", "spec.externalName: Required value"),
        ("ports.0.nodePort", 30080, "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
        ("externalIPs", ["fd00::1"], 'spec.externalIPs[0]: Invalid value: "fd00::1": must be a valid IPv4 address'),
        ("externalIPs", ["203.0.113.1", "127.0.0.1"], "spec.externalIPs[1]: Invalid value: "),
        ("sessionAffinity", "Cookie", 'supported values: "None", "ClientIP"'),
        ("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 0}}, "spec.sessionAffinityConfig.clientIP.timeoutSeconds"),
        ("internalTrafficPolicy", "Near", 'supported values: "Cluster", "Local"'),
        ("selector", {"a": "b c"}, 'spec.selector: Invalid value: "b c"'),
        ("clusterIP", "x", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("clusterIPs", ["9.251.0.1", "x"], 'spec.clusterIPs[1]: Invalid value: "x": must be a valid IP address'),
    ],
)
def test_services(service: JSON, path: str, value: Any, says: str, wrong: Wrong, put: Put) -> None:
    found = [text for text in wrong(put(service, f"spec.{path}", value)) if "spec.ports[1].name: Required" not in text]
    assert len(found) == 1
    assert says in found[0]


def test_a_headless_service_needs_no_ports(service: JSON, wrong: Wrong, put: Put) -> None:
    service = put(service, "spec.ports", [])
    assert wrong(put(service, "spec.clusterIP", "None")) == []


def test_the_two_spellings_of_an_address_agree(service: JSON, wrong: Wrong) -> None:
    service["spec"] |= {"clusterIP": "9.251.0.1", "clusterIPs": ["9.251.0.2"]}
    assert "first value must match `clusterIP`" in wrong(service)[0]


def test_a_service_keeps_its_address(service: JSON, changed: Changed, put: Put) -> None:
    new = put(service, "spec.clusterIP", "9.251.0.7")
    assert changed(new, service) == []
    assert changed(service, new)[0].endswith("may not change once set")


@pytest.mark.parametrize(
    ("ports", "says"),
    [
        ([{"port": 80, "nodePort": 80}], "provided port is not in the valid range: 30000-32767"),
        (
            [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30080}],
            "spec.ports[1].nodePort: Duplicate value: 30080",
        ),
        (
            [{"name": "a", "port": 53, "nodePort": 30053}, {"name": "b", "port": 53, "nodePort": 30053, "protocol": "UDP"}],
            None,
        ),
    ],
)
def test_node_ports(service: JSON, wrong: Wrong, ports: list[JSON], says: str | None) -> None:
    service["spec"] |= {"type": "NodePort", "ports": ports}
    found = wrong(service)
    assert found == [] if says is None else says in found[0]


def test_a_headless_service_has_no_node_ports(service: JSON, wrong: Wrong) -> None:
    service["spec"] |= {"type": "NodePort", "clusterIP": "None"}
    assert "may not be set to 'None' for NodePort services" in wrong(service)[0]


def test_an_external_name(service: JSON, wrong: Wrong, changed: Changed) -> None:
    outside = {**service, "spec": {"type": "ExternalName", "externalName": "db.example.com."}}
    assert wrong(outside) == []
    assert changed(outside, {**service, "spec": {**service["spec"], "clusterIP": "9.251.1.2"}}) == []
    outside["spec"]["externalName"] = "no_host"
    assert 'spec.externalName: Invalid value: "no_host"' in wrong(outside)[0]
    outside["spec"] |= {"externalName": "a.b", "clusterIP": "9.251.1.2"}
    assert "may not be set for ExternalName services" in wrong(outside)[0]


def test_who_may_call_is_said_in_words_that_are_known(service: JSON, wrong: Wrong) -> None:
    service["metadata"]["annotations"] = {"edged.io/allow-from": "namespace:shop, node:gw-b,node:yard/gw-c"}
    assert wrong(service) == []
    service["metadata"]["annotations"] = {"edged.io/allow-from": "shop"}
    assert 'metadata.annotations[edged.io/allow-from]: Invalid value: "shop"' in wrong(service)[0]
