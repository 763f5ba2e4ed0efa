import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.limits import MAX_DEPTH, MAX_NODES
from edged.model.patch import MAX_OPERATIONS, json_patch, merge_patch


# The table of RFC 7386, appendix A, as far as both sides are objects.
@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(original: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    before = copy.deepcopy(original), copy.deepcopy(patch)
    assert merge_patch(original, patch) == result
    assert (original, patch) == before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_is_idempotent(original: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(original, patch)
    assert merge_patch(once, patch) == once
    assert merge_patch(original, {}) == original


@pytest.mark.parametrize("patch", [[], None, 1, "x"])
def test_a_merge_patch_is_an_object(patch: Any) -> None:
    with pytest.raises(InvalidError):
        merge_patch({}, patch)


# After the examples of RFC 6902, appendix A.
@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": 1}], {"baz": 1}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        (
            {"a": [1]},
            [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}],
            {"a": [1], "b": [1, 2]},
        ),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}], {}),
        ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"a": 1}, [], {"a": 1}),
    ],
)
def test_json_patch(original: dict[str, Any], patch: list[Any], result: dict[str, Any]) -> None:
    before = copy.deepcopy(original), copy.deepcopy(patch)
    assert json_patch(original, patch) == result
    assert (original, patch) == before


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({}, "must be a list of operations"),
        ([1], "must be a list of operations"),
        ([{}], "the operation 1 of the patch is none of add, replace, test, move, copy, remove"),
        ([{"op": ["add"], "path": "/a", "value": 1}], "is none of"),
        ([{"op": "add"}], "the operation 1 of the patch has no path"),
        ([{"op": "add", "path": "/a"}], "the operation 1 of the patch, add, has no value"),
        ([{"op": "move", "path": "/a", "from": 1}], "has no from"),
        ([{"op": "test", "path": "/a", "value": 2}], "the operation 1 of the patch, test /a, fails"),
        (
            [{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/x"}],
            "the operation 2 of the patch, remove /x, fails",
        ),
        ([{"op": "replace", "path": "/x/y", "value": 1}], "replace /x/y, fails: member 'x' not found"),
        ([{"op": "add", "path": "a", "value": 1}], "fails"),
        ([{"op": "add", "path": "/a/b", "value": 1}], "fails"),
        ([{"op": "add", "path": "/l/9", "value": 1}], "fails"),
        ([{"op": "add", "path": "/~2", "value": 1}], "fails"),
        ([{"op": "copy", "path": "/b", "from": "/x"}], "fails"),
        ([{"op": "move", "path": "/l/0/x", "from": "/l"}], "fails"),
        ([{"op": "replace", "path": "", "value": 1}], "leaves no object"),
        ([{"op": "remove", "path": ""}], "fails"),
        ([{"op": "remove", "path": "/a"}] * (MAX_OPERATIONS + 1), "maximum operations"),
    ],
)
def test_a_json_patch_that_fails(patch: Any, says: str) -> None:
    original = {"a": 1, "l": [[]]}
    with pytest.raises(InvalidError) as caught:
        json_patch(original, patch)
    assert says in str(caught.value)
    assert "{" not in str(caught.value), "not the whole object"
    assert original == {"a": 1, "l": [[]]}


def test_a_patch_cannot_explode() -> None:
    nest = {"op": "copy", "from": "", "path": "/b"}
    with pytest.raises(InvalidError, match=f"deeper than {MAX_DEPTH}"):
        json_patch({"a": 1}, [nest] * MAX_OPERATIONS)
    double = {"op": "copy", "from": "/a", "path": "/a/-"}
    with pytest.raises(InvalidError, match=f"more than {MAX_NODES} values"):
        json_patch({"a": [1]}, [double] * MAX_OPERATIONS)
    wide = {"a": [0] * (MAX_NODES // 10)}
    with pytest.raises(InvalidError, match=f"more than {MAX_NODES} values"):
        json_patch(wide, [{"op": "copy", "from": "/a", "path": f"/{at}"} for at in range(11)])


PATHS = st.sampled_from(
    ["", "/", "/a", "/b", "/a/b", "/a/0", "/a/-", "/b/c/0", "/~0", "a", "/a/01", "/a/-1", "/a/99999999999999999999"]
)
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]) | VALUES,
        "path": PATHS | VALUES,
        "from": PATHS | VALUES,
        "value": VALUES,
    },
)


@given(OBJECTS, st.lists(OPERATIONS, max_size=5))
def test_any_json_patch_applies_or_is_refused(original: dict[str, Any], patch: list[Any]) -> None:
    before = copy.deepcopy(original)
    try:
        json.dumps(json_patch(original, patch))
    except InvalidError as error:
        assert "\n" not in str(error)
    assert original == before
