from typing import Any

import msgspec
import pytest

from edged.model.istio import DestinationRule
from edged.model.rules.traffic import destination_rule


def wrong(host: str = "web", **balancer: Any) -> list[str]:
    value = {
        **{"apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule", "metadata": {"name": "web"}},
        "spec": {"host": host, "trafficPolicy": {"loadBalancer": balancer}},
    }
    return [f"{cause.field}: {cause.message}" for cause in destination_rule(msgspec.convert(value, DestinationRule))]


@pytest.mark.parametrize(
    "balancer",
    [{}, {"simple": "RANDOM"}, {"consistentHash": {"useSourceIp": True}}, {"consistentHash": {"httpHeaderName": "x-user"}}],
)
def test_what_is_served(balancer: dict[str, Any]) -> None:
    assert wrong(**balancer) == []


@pytest.mark.parametrize(
    ("balancer", "says"),
    [
        ({"simple": "PASSTHROUGH"}, 'loadBalancer.simple: Unsupported value: "PASSTHROUGH"'),
        ({"consistentHash": {}}, "consistentHash: Required value: httpHeaderName or useSourceIp"),
        ({"consistentHash": {"httpHeaderName": "x", "useSourceIp": True}}, "useSourceIp: Invalid value: true: may not be"),
        ({"simple": "RANDOM", "consistentHash": {"useSourceIp": True}}, "may not be set beside consistentHash"),
    ],
)
def test_what_is_not(balancer: dict[str, Any], says: str) -> None:
    assert says in wrong(**balancer)[0]


def test_a_host_is_needed() -> None:
    assert wrong(host="") == ["spec.host: Required value"]
