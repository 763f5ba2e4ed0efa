from collections.abc import Callable
from typing import Any

from edged.model.kinds import KINDS
from edged.model.limits import MAX_CAUSES
from edged.model.validate import CONFIG_MAP_MAX, validate

JSON = dict[str, Any]
Wrong = Callable[[JSON], list[str]]
Changed = Callable[[JSON, JSON], list[str]]
Put = Callable[[JSON, str, Any], JSON]


def test_good_objects(pod: JSON, deployment: JSON, service: JSON, device: JSON, wrong: Wrong, changed: Changed) -> None:
    for value in (pod, deployment, service, device):
        assert wrong(value) == []
        assert changed(value, value) == []


def test_every_kind_has_rules_for_its_metadata() -> None:
    for row in KINDS:
        if row.kind == "Event":
            continue
        found = validate(row.acts(row.api_version, row.kind), row)
        assert ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required") in found
        assert any(cause.field == "metadata.namespace" for cause in found) == row.namespaced


def test_nodes(wrong: Wrong) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-a"}}
    taint = {"key": "a", "effect": "NoSchedule"}
    assert wrong({**node, "spec": {"taints": [taint, {**taint, "effect": "NoExecute"}]}}) == []
    assert "Duplicate value" in wrong({**node, "spec": {"taints": [taint, taint]}})[0]
    assert 'Unsupported value: "Never"' in wrong({**node, "spec": {"taints": [{**taint, "effect": "Never"}]}})[0]
    assert 'spec.taints[0].key: Invalid value: "a b"' in wrong({**node, "spec": {"taints": [{**taint, "key": "a b"}]}})[0]
    assert 'spec.taints[0].value: Invalid value: "c d"' in wrong({**node, "spec": {"taints": [{**taint, "value": "c d"}]}})[0]


def test_config_maps(wrong: Wrong) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
    assert wrong({**config, "data": {"a.b": "x" * 1000}, "binaryData": {"c": "aGk="}}) == []
    assert "a valid config key must consist of" in wrong({**config, "data": {"a/b": ""}})[0]
    assert "duplicate of key present in" in wrong({**config, "data": {"a": ""}, "binaryData": {"a": ""}})[0]
    assert wrong({**config, "data": {"a": "x" * (CONFIG_MAP_MAX + 1)}}) == [
        f"Too long: may not be more than {CONFIG_MAP_MAX} bytes"
    ]


def test_events(wrong: Wrong) -> None:
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"}}
    assert wrong({**event, "involvedObject": {"kind": "Pod", "namespace": "default"}}) == []
    assert "does not match event.namespace" in wrong({**event, "involvedObject": {"kind": "Pod", "namespace": "other"}})[0]


def test_only_so_many_causes(pod: JSON, wrong: Wrong, put: Put) -> None:
    assert len(wrong(put(pod, "spec.containers", [{"name": "A", "image": ""}] * 1000))) == MAX_CAUSES
