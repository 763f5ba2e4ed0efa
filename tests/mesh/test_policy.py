from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edged.mesh.names import Name
from edged.mesh.policy import BY_CHANCE, BY_HASH, BY_LEAST, BY_TURNS, Policy, policies, policy_of
from edged.model.core import Service
from edged.model.istio import DestinationRule

WEB = Name("default", "web")


def rule(host: str = "web", name: str = "web", created: str = "2025-01-01T00:00:00Z", **balancer: Any) -> DestinationRule:
    value = {
        **{"apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule"},
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
        "spec": {"host": host, "trafficPolicy": {"loadBalancer": balancer}},
    }
    return msgspec.convert(value, DestinationRule)


@pytest.mark.parametrize(
    ("balancer", "policy"),
    [
        ({}, Policy(BY_LEAST)),
        ({"simple": "LEAST_REQUEST"}, Policy(BY_LEAST)),
        ({"simple": "RANDOM"}, Policy(BY_CHANCE)),
        ({"simple": "ROUND_ROBIN"}, Policy(BY_TURNS)),
        ({"consistentHash": {"useSourceIp": True}}, Policy(BY_HASH)),
        ({"consistentHash": {"httpHeaderName": "X-User"}}, Policy(BY_HASH, "x-user")),
    ],
)
def test_what_a_rule_says(balancer: dict[str, Any], policy: Policy) -> None:
    assert policies([rule(**balancer)]) == {WEB: policy}


@pytest.mark.parametrize("host", ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local", "web.default."])
def test_a_host_is_a_service_by_any_of_its_names(host: str) -> None:
    assert list(policies([rule(host)])) == [WEB]


def test_the_older_of_two_holds() -> None:
    young = rule(name="aaa", created="2025-02-01T00:00:00Z", simple="RANDOM")
    assert policies([young, rule(simple="ROUND_ROBIN")]) == {WEB: Policy(BY_TURNS)}


def test_a_rule_holds_before_the_affinity_of_the_service(make_service: Callable[..., Service]) -> None:
    sticky = make_service(session_affinity="ClientIP")
    assert policy_of(sticky, {}) == Policy(BY_HASH)
    assert policy_of(sticky, {WEB: Policy(BY_CHANCE)}) == Policy(BY_CHANCE)
    assert policy_of(make_service(), {}) == Policy(BY_LEAST)
