import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.model.defaults import default
from edged.model.fields import fields, is_struct
from edged.model.kinds import BY_KIND, KINDS, Row
from edged.model.limits import MAX_CAUSES, MAX_DEPTH, MAX_NODES
from edged.model.schema import MAX_PATHS, check
from edged.model.validate import validate

JSON = dict[str, Any]
ROWS = {row.kind: row for row in KINDS}


def errors(value: JSON, kind: str) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in check(value, ROWS[kind]).errors]


def test_good_objects(pod: JSON, deployment: JSON, service: JSON, device: JSON) -> None:
    for value in (pod, deployment, service, device):
        row = BY_KIND[value["apiVersion"], value["kind"]]
        before = copy.deepcopy(value)
        checked = check(value, row)
        assert checked == ([], [], [], value)
        assert value == before
        assert default(checked.value, row)["metadata"] == value["metadata"]
        assert check(default(checked.value, row), row)[:3] == ([], [], [])


def test_wrong_types(deployment: JSON) -> None:
    deployment["spec"]["replicas"] = "2"
    deployment["spec"]["template"]["spec"] = {
        "containers": [{"name": 1, "ports": {}, "env": ["x"], "tty": "no", "args": [1]}],
        "nodeSelector": {"a b": 1},
        "hostNetwork": 1,
    }
    template = "spec.template.spec"
    assert errors(deployment, "Deployment") == [
        'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"',
        *(
            f'{template}.{path}: Invalid value: "{found}": {template}.{path} in body must be of type {wanted}: "{found}"'
            for path, wanted, found in (
                ("containers[0].name", "string", "integer"),
                ("containers[0].ports", "array", "object"),
                ("containers[0].env[0]", "object", "string"),
                ("containers[0].tty", "boolean", "string"),
                ("containers[0].args[0]", "string", "integer"),
                ("nodeSelector['a b']", "string", "integer"),
                ("hostNetwork", "boolean", "integer"),
            )
        ),
    ]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"replicas": 1.0}, "must be of type integer"),
        ({"replicas": True}, "must be of type integer"),
        ({"replicas": 2**31}, "should be less than or equal to 2147483647"),
        ({"replicas": -(2**31) - 1}, "should be greater than or equal to -2147483648"),
        ({"strategy": {"rollingUpdate": {"maxSurge": []}}}, "must be of type integer or string"),
        ({"template": None}, "Required value"),
        ({"selector": []}, "must be of type object"),
    ],
)
def test_wrong_values_of_a_deployment(deployment: JSON, spec: JSON, says: str) -> None:
    deployment["spec"] |= spec
    found = errors(deployment, "Deployment")
    assert len(found) == 1
    assert says in found[0]


def test_times_quantities_and_base64() -> None:
    node = {
        "spec": {"taints": [{"key": "a", "effect": "NoSchedule", "timeAdded": "yesterday"}]},
        "status": {"capacity": {"cpu": "x"}},
    }
    found = errors(node, "Node")
    assert found[0].startswith(
        'spec.taints[0].timeAdded: Invalid value: "yesterday": spec.taints[0].timeAdded in body must be of type date-time'
    )
    assert found[1].startswith(
        'status.capacity[cpu]: Invalid value: "x": quantities must match the regular expression \'^([+-]?[0-9.]+)'
    )
    wrong = errors({"data": {"a": "hunter2"}}, "Secret")[0]
    assert "data[a] in body must be of type byte" in wrong
    assert "hunter2" not in wrong
    assert errors({"binaryData": {"a": "aGk="}}, "ConfigMap") == []


def test_quantities_are_kept_as_kubernetes_writes_them(pod: JSON) -> None:
    pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 0.5, "memory": "1024Mi", "x.io/y": 2}}
    checked = check(pod, ROWS["Pod"])
    assert checked.errors == []
    limits = checked.value["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "500m", "memory": "1Gi", "x.io/y": "2"}


def test_required_fields(pod: JSON) -> None:
    pod["spec"]["containers"] = [{"image": "a", "ports": [{}], "env": [{"valueFrom": {"fieldRef": {}}}]}]
    assert errors(pod, "Pod") == [
        "spec.containers[0].ports[0].containerPort: Required value",
        "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Required value",
        "spec.containers[0].env[0].name: Required value",
        "spec.containers[0].name: Required value",
    ]


def test_a_status_needs_only_what_its_struct_needs() -> None:
    assert errors({"status": {"nodeInfo": {"osImage": "x"}}}, "Node") == []
    assert errors({"status": {"conditions": [{"type": "Ready"}]}}, "Node") == ["status.conditions[0].status: Required value"]


def test_null_is_absent(pod: JSON) -> None:
    pod["metadata"] |= {"creationTimestamp": None, "labels": {"a": None, "b": "c"}}
    pod["spec"]["nodeSelector"] = None
    checked = check(pod, ROWS["Pod"])
    assert checked[:3] == ([], [], [])
    assert checked.value["metadata"] == {"name": "web-0", "namespace": "default", "labels": {"b": "c"}}
    assert "nodeSelector" not in checked.value["spec"]
    pod["spec"]["containers"] = [None]
    assert 'must be of type object: "null"' in errors(pod, "Pod")[0]


def test_unknown_fields_are_named_and_dropped(pod: JSON) -> None:
    pod["spec"]["containers"][0]["imagee"] = "x"
    pod["spec"]["replicas"] = 1
    pod["x\r\nSet-Cookie: a"] = {"y": 1}
    checked = check(pod, ROWS["Pod"])
    assert checked.unknown == ["spec.containers[0].imagee", "spec.replicas", "'x\\r\\nSet-Cookie: a'"]
    assert "imagee" not in checked.value["spec"]["containers"][0]
    assert checked.value.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert checked.errors == []


def test_fields_that_edged_does_not_act_on_are_kept_and_named(pod: JSON) -> None:
    pod["spec"]["priorityClassName"] = "high"
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    pod["spec"]["containers"][0]["stdin"] = True
    checked = check(pod, ROWS["Pod"])
    assert checked.unacted == ["spec.containers[0].stdin", "spec.priorityClassName", "spec.securityContext"]
    assert checked.value == pod


def test_fields_that_ask_for_nothing_are_not_named(pod: JSON, deployment: JSON) -> None:
    pod["metadata"]["managedFields"] = [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}}]
    pod["spec"] |= {"securityContext": {}, "serviceAccountName": "default", "hostPID": False, "dnsPolicy": "ClusterFirst"}
    pod["spec"] |= {
        "enableServiceLinks": False,
        "affinity": {"nodeAffinity": {}},
        "imagePullSecrets": [],
        "priorityClassName": "",
    }
    pod["spec"]["containers"][0] |= {"tty": False, "securityContext": {"privileged": False}}
    pod["status"] = {"qosClass": "BestEffort"}
    assert check(pod, ROWS["Pod"]).unacted == []
    deployment["spec"] |= {"revisionHistoryLimit": 10, "minReadySeconds": 0, "progressDeadlineSeconds": 600}
    assert check(deployment, ROWS["Deployment"]).unacted == []
    assert check({"spec": {"finalizers": ["kubernetes"]}}, ROWS["Namespace"]).unacted == []
    assert check({"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}, ROWS["Service"]).unacted == []
    assert check({"spec": {"finalizers": ["other"]}}, ROWS["Namespace"]).unacted == ["spec"]


def test_security_that_is_asked_for_is_never_ignored_in_silence(pod: JSON) -> None:
    for context in (
        {"allowPrivilegeEscalation": False},
        {"runAsUser": 0},
        {"capabilities": {"drop": ["ALL"]}},
        {"runAsNonRoot": True},
    ):
        pod["spec"]["containers"][0]["securityContext"] = context
        assert check(pod, ROWS["Pod"]).unacted == ["spec.containers[0].securityContext"]


def test_another_kind() -> None:
    assert errors({"apiVersion": "v2", "kind": "Pot"}, "Pod") == [
        'apiVersion: Invalid value: "v2": must be v1',
        'kind: Invalid value: "Pot": must be Pod',
    ]


def test_free_form_parts_are_free(device: JSON) -> None:
    device["spec"]["protocol"]["configData"] = {"a": [1, {"b": None, "c": 2.5}], "d": True}
    checked = check(device, ROWS["Device"])
    assert checked[:3] == ([], [], [])
    assert checked.value["spec"]["protocol"]["configData"] == {"a": [1, {"c": 2.5}], "d": True}


def test_limits(device: JSON) -> None:
    deep: JSON = {}
    for _ in range(MAX_DEPTH):
        deep = {"a": deep}
    device["spec"]["protocol"]["configData"] = deep
    assert errors(device, "Device") == [f"spec.protocol.configData{'[a]'}: nested deeper than {MAX_DEPTH} levels"]
    assert "more than" in errors({"data": {str(at): "" for at in range(MAX_NODES + 1)}}, "ConfigMap")[0]
    many = check({"data": {str(at): 1 for at in range(1000)}, **{f"x{at}": 1 for at in range(1000)}}, ROWS["ConfigMap"])
    assert len(many.errors) == MAX_CAUSES
    assert len(check({f"x{at}": 1 for at in range(1000)}, ROWS["ConfigMap"]).unknown) == MAX_PATHS


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=3), below, max_size=2),
    max_leaves=4,
)
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["", "a", "web-0", "A b", "80", "Always", "10.0.0.1", "é\n"]),
    "boolean": st.booleans(),
    "int32": st.integers(-2, 70_000) | st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "IntOrString": st.integers(-1, 100) | st.sampled_from(["25%", "http", "101%", "0%"]),
    "Quantity": st.sampled_from(["1", "500m", "-1", "1.5Gi", 2, 0.5, 1e-12]),
    "Time": st.just("2026-08-06T12:00:00Z"),
    "MicroTime": st.just("2026-08-06T12:00:00.000001Z"),
    "bytes": st.sampled_from(["", "aGk="]),
    "any": JUNK,
}


@st.composite
def of_type(draw: st.DrawFn, of: str, depth: int = 0) -> Any:
    if draw(st.integers(0, 40)) == 0:
        return draw(JUNK)
    if of in LEAVES:
        return draw(LEAVES[of])
    if of.startswith("[]"):
        return [draw(of_type(of[2:], depth + 1)) for _ in range(draw(st.integers(0, 2)))]
    if of.startswith("{}"):
        return {key: draw(of_type(of[2:], depth + 1)) for key in draw(st.lists(st.sampled_from(["cpu", "b c"]), max_size=2))}
    row = fields(of)
    few = st.lists(st.sampled_from(sorted(row.types)), max_size=5 if depth < 5 else 0, unique=True)
    chosen = {*row.required, *draw(few)}
    return {name: draw(of_type(row.types[name], depth + 1)) for name in sorted(chosen)}


def test_an_unknown_field_in_a_part_that_is_not_acted_on() -> None:
    value = {"spec": {"securityContext": {"nonsense": {"a": {"b": 1}}}}}
    checked = check(value, BY_KIND["v1", "Pod"])
    assert checked.unknown == ["spec.securityContext.nonsense"]
    assert checked.unacted == ["spec.securityContext"]


@settings(max_examples=300)
@given(st.sampled_from(KINDS), st.data())
def test_what_passes_decodes_into_the_struct_and_can_be_validated(row: Row, data: st.DataObject) -> None:
    value = data.draw(of_type(row.kind))
    value = value if isinstance(value, dict) else {"spec": value}
    value |= {"apiVersion": row.api_version, "kind": row.kind}
    before = copy.deepcopy(value)
    checked = check(value, row)
    assert value == before
    if checked.errors:
        assert all(cause.reason.startswith("FieldValue") and cause.message for cause in checked.errors)
        return
    full = default(checked.value, row)
    again = check(full, row)
    assert (again.errors, again.unknown, again.value) == ([], [], full)
    for cause in validate(msgspec.convert(full, row.acts), row):
        assert cause.reason.startswith("FieldValue")


def test_every_row_of_the_table_can_be_walked() -> None:
    seen = set()

    def walk(of: str) -> None:
        of = of.removeprefix("[]").removeprefix("{}")
        if of in seen or not is_struct(of):
            return
        seen.add(of)
        for each in fields(of).types.values():
            walk(each)

    for row in KINDS:
        walk(row.kind)
    assert len(seen) > 150
