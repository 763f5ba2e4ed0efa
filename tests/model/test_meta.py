import json

import msgspec
import pytest

from edged.model.meta import Condition, Kind, LabelSelector, ObjectMeta, OwnerReference


def test_names_are_camel_case_and_defaults_are_left_out() -> None:
    kind = Kind(
        "v1", "Pod", ObjectMeta(name="a", resource_version="7", owner_references=(OwnerReference("v1", "A", "b", "c"),))
    )
    assert json.loads(msgspec.json.encode(kind)) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "a",
            "resourceVersion": "7",
            "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "b", "uid": "c"}],
        },
    }


def test_fields_that_edged_does_not_act_on_are_passed_over() -> None:
    found = msgspec.json.decode(b'{"matchLabels": {"a": "b"}, "new": 1}', type=LabelSelector)
    assert found == LabelSelector({"a": "b"})


def test_parts_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Condition("Ready", "True").status = "False"  # type: ignore[misc]
