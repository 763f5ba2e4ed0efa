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
        ("replicas", -1, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("replicas", 10_001, "spec.replicas: Invalid value: 10001: must be less than or equal to 10000"),
        ("selector", {}, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            "selector",
            {"matchLabels": {"app": "db"}},
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ),
        (
            "selector",
            {"matchExpressions": [{"key": "a", "operator": "Like"}]},
            'operator: Invalid value: "Like": not a valid selector operator',
        ),
        (
            "selector",
            {"matchExpressions": [{"key": "a", "operator": "In"}]},
            "values: Required value: must be specified when `operator` is",
        ),
        (
            "selector",
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            "Forbidden: may not be specified when",
        ),
        (
            "selector",
            {"matchExpressions": [{"key": "a b", "operator": "In", "values": ["c"]}]},
            "spec.selector.matchExpressions[0].key",
        ),
        (
            "selector",
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["c d"]}]},
            "spec.selector.matchExpressions[0].values[0]",
        ),
        ("selector", {"matchLabels": {"a b": "c"}}, 'spec.selector.matchLabels: Invalid value: "a b"'),
        (
            "template.spec.restartPolicy",
            "Never",
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        ("template.spec.restartPolicy", "Seldom", '"Seldom": supported values: "Always", "OnFailure", "Never"'),
        ("template.spec.containers", [], "spec.template.spec.containers: Required value"),
        ("template.spec.containers.0.ports.0.containerPort", 70000, "spec.template.spec.containers[0].ports[0].containerPort"),
        ("template.metadata.labels", {"app": "web", "x y": "z"}, "spec.template.metadata.labels: Invalid"),
        ("strategy", {"type": "BlueGreen"}, 'Unsupported value: "BlueGreen": supported values: "Recreate", "RollingUpdate"'),
        ("strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}, "may not be 0 when `maxSurge` is 0"),
        ("strategy", {"rollingUpdate": {"maxSurge": "x"}}, "a valid percent string must be a numeric string"),
        ("strategy", {"rollingUpdate": {"maxSurge": -1}}, "must be greater than or equal to 0"),
        ("strategy", {"rollingUpdate": {"maxUnavailable": "101%"}}, "must not be greater than 100%"),
    ],
)
def test_deployments(deployment: JSON, path: str, value: Any, says: str, wrong: Wrong, put: Put) -> None:
    found = wrong(put(deployment, f"spec.{path}", value))
    assert len(found) == 1
    assert says in found[0]


def test_a_deployment_keeps_its_selector(deployment: JSON, changed: Changed, put: Put) -> None:
    assert changed(put(deployment, "spec.replicas", 5), deployment) == []
    assert changed(put(deployment, "spec.selector", {"matchLabels": {"app": "db"}}), deployment) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"db"}}: field is immutable'
    ]


@pytest.mark.parametrize("path", ["metadata", "spec.template.metadata"])
def test_a_wrong_rule_of_failover_is_one_clear_cause(path: str, deployment: JSON, wrong: Wrong, put: Put) -> None:
    assert wrong(put(deployment, f"{path}.annotations", {"edged.io/failover": "never"})) == []
    [found] = wrong(put(deployment, f"{path}.annotations", {"edged.io/failover": "sometimes"}))
    assert found.startswith(
        f'{path}.annotations[edged.io/failover]: Unsupported value: "sometimes": supported values: "quorum"'
    )
