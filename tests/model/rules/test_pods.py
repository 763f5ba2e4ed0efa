from collections.abc import Callable
from typing import Any

import pytest

JSON = dict[str, Any]
Wrong = Callable[[JSON], list[str]]
Changed = Callable[[JSON, JSON], list[str]]
Put = Callable[[JSON, str, Any], JSON]
PORTS = {"containerPort": 80, "name": "http"}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("containers", [], "spec.containers: Required value"),
        ("containers.0.name", "", "spec.containers[0].name: Required value"),
        ("containers.0.name", "A", 'spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label'),
        ("containers", [{"name": "a", "image": "x"}] * 2, 'spec.containers[1].name: Duplicate value: "a"'),
        ("containers.0.image", "", "spec.containers[0].image: Required value"),
        ("containers.0.image", " x", "must not have leading or trailing whitespace"),
        (
            "containers.0.imagePullPolicy",
            "Maybe",
            'Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"',
        ),
        ("containers.0.ports.0.containerPort", 0, "containerPort: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ("containers.0.ports.0.hostPort", 65536, "hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive"),
        ("containers.0.ports.0.protocol", "ICMP", 'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
        ("containers.0.ports.0.name", "80", "must contain at least one letter (a-z)"),
        ("containers.0.ports.0.hostIP", "1.2.3", "must be a valid IP address"),
        ("containers.0.ports", [PORTS, PORTS], 'spec.containers[0].ports[1].name: Duplicate value: "http"'),
        (
            "containers.0.ports",
            [{"containerPort": at, "hostPort": 8080} for at in (80, 81)],
            'hostPort: Duplicate value: "TCP//8080"',
        ),
        ("containers.0.env", [{"name": ""}], "spec.containers[0].env[0].name: Required value"),
        ("containers.0.env", [{"name": "A=B"}], "a valid environment variable name must consist only of printable ASCII"),
        (
            "containers.0.env",
            [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "may not be specified when",
        ),
        (
            "containers.0.env",
            [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}],
            'Unsupported value: "spec.x"',
        ),
        ("containers.0.env", [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": ""}}}], "fieldPath: Required value"),
        (
            "containers.0.env",
            [{"name": "A", "valueFrom": {"configMapKeyRef": {"key": "a/b", "name": "c"}}}],
            "a valid config key must consist",
        ),
        (
            "containers.0.env",
            [{"name": "A", "valueFrom": {"configMapKeyRef": {"key": "a"}}}],
            "configMapKeyRef.name: Required value",
        ),
        ("containers.0.env", [{"name": "A", "valueFrom": {"secretKeyRef": {"key": "a"}}}], "secretKeyRef.name: Required value"),
        (
            "containers.0.env",
            [{"name": "A", "valueFrom": {key: {"key": "a", "name": "b"} for key in ("secretKeyRef", "configMapKeyRef")}}],
            "may not have more than one field specified at a time",
        ),
        (
            "containers.0.resources",
            {"requests": {"cpu": "-1"}},
            'requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        ),
        ("containers.0.resources", {"requests": {"cpus": "1"}}, "must be a standard resource for containers"),
        (
            "containers.0.resources",
            {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}},
            "must be less than or equal to cpu limit of 1",
        ),
        ("restartPolicy", "Sometimes", 'Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'),
        ("terminationGracePeriodSeconds", -1, "must be greater than or equal to 0"),
        ("nodeName", "A", 'spec.nodeName: Invalid value: "A"'),
        ("hostname", "a.b", 'spec.hostname: Invalid value: "a.b"'),
        ("nodeSelector", {"a b": "c"}, 'spec.nodeSelector: Invalid value: "a b"'),
        ("tolerations", [{"key": "a b", "operator": "Exists"}], 'spec.tolerations[0].key: Invalid value: "a b"'),
        ("tolerations", [{"value": "a"}], "operator must be Exists when `key` is empty"),
        ("tolerations", [{"key": "a", "value": "b c"}], 'spec.tolerations[0].operator: Invalid value: "b c"'),
        ("tolerations", [{"key": "a", "operator": "Exists", "value": "b"}], "value must be empty when `operator` is 'Exists'"),
        ("tolerations", [{"key": "a", "operator": "In"}], 'Unsupported value: "In": supported values: "Equal", "Exists"'),
        ("tolerations", [{"key": "a", "effect": "NoRun"}], 'Unsupported value: "NoRun": supported values: "NoExecute"'),
        ("tolerations", [{"key": "a", "tolerationSeconds": 5}], "effect must be 'NoExecute' when `tolerationSeconds` is set"),
    ],
)
def test_pods(pod: JSON, path: str, value: Any, says: str, wrong: Wrong, put: Put) -> None:
    found = wrong(put(pod, f"spec.{path}", value))
    assert len(found) == 1
    assert says in found[0]


def test_what_pods_may_say(pod: JSON, wrong: Wrong, put: Put) -> None:
    fields = ["metadata.name", "status.podIP", "metadata.labels['app']", "metadata.annotations['a.b/c']"]
    env = [{"name": f"A{at}", "valueFrom": {"fieldRef": {"fieldPath": field}}} for at, field in enumerate(fields)]
    more = {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "d"}}}
    pod = put(pod, "spec.containers.0.env", [*env, more])
    pod = put(pod, "spec.containers.0.resources", {"limits": {"cpu": "1", "hugepages-2Mi": "4Mi", "x.io/gpu": 1}})
    assert wrong(put(pod, "spec.hostNetwork", True)) == []


def test_a_host_network_pod_opens_its_ports(pod: JSON, wrong: Wrong, put: Put) -> None:
    pod = put(pod, "spec.hostNetwork", True)
    assert "must match `hostPort`" in wrong(put(pod, "spec.containers.0.ports.0.hostPort", 81))[0]


def test_a_pod_takes_a_new_image_only(pod: JSON, deployment: JSON, changed: Changed, put: Put) -> None:
    assert changed(put(pod, "spec.containers.0.image", "nginx:2"), pod) == []
    assert changed(put(pod, "metadata.labels", {"x": "y"}), pod) == []
    found = changed(put(pod, "spec.nodeName", "gw-b"), pod)
    assert found[0].startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
    more = changed(put(pod, "spec.containers", [*pod["spec"]["containers"], {"name": "b", "image": "x"}]), pod)
    assert more == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


def test_a_pod_takes_more_tolerations_but_loses_none(pod: JSON, changed: Changed, put: Put) -> None:
    first = {"key": "a", "operator": "Exists", "effect": "NoExecute"}
    old = put(pod, "spec.tolerations", [first])
    assert changed(put(pod, "spec.tolerations", [{"key": "b"}, {**first, "tolerationSeconds": 5}]), old) == []
    assert changed(pod, old)[0].startswith("spec: Forbidden: pod updates may not change fields other than")


def test_a_wrong_rule_of_failover_is_one_clear_cause(pod: JSON, wrong: Wrong, put: Put) -> None:
    assert wrong(put(pod, "metadata.annotations", {"edged.io/failover": "quorum"})) == []
    assert wrong(put(pod, "metadata.annotations", {"edged.io/failover": "Quorum"})) == [
        'metadata.annotations[edged.io/failover]: Unsupported value: "Quorum": supported values: "quorum", "always", "never"'
    ]
