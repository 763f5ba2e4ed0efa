from collections.abc import Callable
from typing import Any

import pytest

from edged.model.names import ANNOTATIONS_MAX

JSON = dict[str, Any]
Wrong = Callable[[JSON], list[str]]
Changed = Callable[[JSON, JSON], list[str]]
Put = Callable[[JSON, str, Any], JSON]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "Web", 'metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of'),
        ("name", "x" * 254, "must be no more than 253 characters"),
        ("namespace", "a.b", 'metadata.namespace: Invalid value: "a.b": a lowercase RFC 1123 label must consist of'),
        ("generateName", "Web-", 'metadata.generateName: Invalid value: "Web-": a lowercase'),
        ("labels", {"a b": "c"}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
        ("labels", {"a": "c d"}, 'metadata.labels: Invalid value: "c d": a valid label must be an empty string or consist of'),
        ("annotations", {"a b": ""}, 'metadata.annotations: Invalid value: "a b": name part'),
        (
            "annotations",
            {"a": "x" * ANNOTATIONS_MAX},
            f"metadata.annotations: Too long: may not be more than {ANNOTATIONS_MAX} bytes",
        ),
        ("finalizers", ["a b"], 'metadata.finalizers[0]: Invalid value: "a b"'),
        (
            "ownerReferences",
            [{"apiVersion": "v1", "kind": "", "name": "a", "uid": "b"}],
            "metadata.ownerReferences[0].kind: Invalid",
        ),
        ("ownerReferences", [{"apiVersion": "a/", "kind": "b", "name": "a", "uid": "b"}], "version must not be empty"),
        (
            "ownerReferences",
            [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "b", "controller": True}] * 2,
            "only one reference",
        ),
    ],
)
def test_metadata(pod: JSON, field: str, value: Any, says: str, wrong: Wrong, put: Put) -> None:
    found = wrong(put(pod, f"metadata.{field}", value))
    assert len(found) == 1
    assert says in found[0]


def test_names_by_kind(service: JSON, wrong: Wrong, put: Put) -> None:
    assert 'Invalid value: "2web": a DNS-1035 label must consist of' in wrong(put(service, "metadata.name", "2web"))[0]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}
    assert "a lowercase RFC 1123 label" in wrong(namespace)[0]
    assert wrong(put(namespace, "metadata", {"name": "a", "namespace": "b"})) == [
        "metadata.namespace: Forbidden: not allowed on this type"
    ]


def test_names_do_not_change(pod: JSON, changed: Changed, put: Put) -> None:
    assert changed(put(pod, "metadata.uid", "x"), pod) == ['metadata.uid: Invalid value: "x": field is immutable']
