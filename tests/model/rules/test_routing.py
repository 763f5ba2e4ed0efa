from typing import Any

import msgspec
import pytest

from edged.model.routing import Rule, RuleEndpoint
from edged.model.rules.routing import rule, rule_endpoint

HEAD = {"apiVersion": "rules.kubeedge.io/v1", "metadata": {"name": "a"}}


def wrong(**spec: Any) -> list[str]:
    parsed = msgspec.convert({**HEAD, "kind": "RuleEndpoint", "spec": spec}, RuleEndpoint)
    return [f"{cause.field}: {cause.message}" for cause in rule_endpoint(parsed)]


@pytest.mark.parametrize("kind", ["rest", "eventbus", "servicebus"])
def test_endpoints(kind: str) -> None:
    assert wrong(ruleEndpointType=kind) == []
    assert wrong(ruleEndpointType=kind, properties={"service_port": "6666"}) == []


def test_endpoints_that_are_none() -> None:
    assert wrong(ruleEndpointType="mail")[0].startswith('spec.ruleEndpointType: Unsupported value: "mail"')
    for port in ("0", "65536", "x", "-1"):
        (said,) = wrong(ruleEndpointType="servicebus", properties={"service_port": port})
        assert "must be a port" in said


def test_a_rule_names_its_ends() -> None:
    parsed = msgspec.convert({**HEAD, "kind": "Rule", "spec": {"source": "A B"}}, Rule)
    fields = [cause.field for cause in rule(parsed)]
    assert fields == ["spec.source", "spec.target"]
