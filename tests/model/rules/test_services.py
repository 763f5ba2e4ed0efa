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
        ("type", "LoadBalancer", 'spec.type: Unsupported value: "LoadBalancer": supported values: "ClusterIP"'),
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
