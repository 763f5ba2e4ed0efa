import pytest

from edged.model import causes


def test_kubernetes_words() -> None:
    assert causes.required("spec.containers") == ("spec.containers", "FieldValueRequired", "Required value")
    assert causes.invalid("a", -1, "must be greater than or equal to 0").message == (
        "Invalid value: -1: must be greater than or equal to 0"
    )
    assert causes.unsupported("a", "X", ["A", "B"]).message == 'Unsupported value: "X": supported values: "A", "B"'
    assert causes.duplicate("a", "web").message == 'Duplicate value: "web"'
    assert causes.forbidden("spec", "no").message == "Forbidden: no"
    assert causes.too_long("metadata.annotations", 10).message == "Too long: may not be more than 10 bytes"
    assert causes.mistyped("spec.replicas", "3", "integer").message == (
        'Invalid value: "string": spec.replicas in body must be of type integer: "string"'
    )


@pytest.mark.parametrize("value", ["x" * 10_000, {"a": "x" * 10_000}, [1] * 10_000, 10**300])
def test_a_long_value_is_cut(value: object) -> None:
    assert len(causes.shown(value)) < 140


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "null"), (True, "boolean"), ("", "string"), (1, "integer"), (1.5, "number"), ({}, "object"), ([], "array")],
)
def test_json_types(value: object, name: str) -> None:
    assert causes.json_type(value) == name
