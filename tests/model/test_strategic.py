import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.fields import fields
from edged.model.strategic import MERGE_KEYS, SETS, strategic_merge_patch

JSON = dict[str, Any]


def patched(original: JSON, patch: JSON, of: str = "PodSpec") -> JSON:
    before = copy.deepcopy(original), copy.deepcopy(patch)
    result = strategic_merge_patch(original, patch, of)
    assert (original, patch) == before
    return result


def containers(*names: str, **more: Any) -> list[JSON]:
    return [{"name": name, **more} for name in names]


def test_the_merge_keys_are_fields_of_their_types() -> None:
    for owner, keys in MERGE_KEYS.items():
        for field, key in keys.items():
            written = fields(owner).types[field]
            assert written.startswith("[]")
            assert key in fields(written[2:]).types
    for owner, names in SETS.items():
        assert all(fields(owner).types[name] == "[]string" for name in names)


def test_maps_are_merged_and_null_deletes() -> None:
    original = {"nodeSelector": {"a": "1", "b": "2"}, "hostname": "x"}
    patch = {"nodeSelector": {"b": None, "c": "3", "d": None}, "hostname": None, "nodeName": None}
    assert patched(original, patch) == {"nodeSelector": {"a": "1", "c": "3"}}


def test_a_value_of_another_type_is_replaced() -> None:
    assert patched({"nodeSelector": "x"}, {"nodeSelector": {"a": "1", "b": None}}) == {"nodeSelector": {"a": "1"}}
    assert patched({"containers": {"a": 1}}, {"containers": containers("a")}) == {"containers": containers("a")}


def test_a_keyed_list_is_merged_by_its_key() -> None:
    original = {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "2"}]}
    patch = {"containers": [{"name": "a", "image": "3", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": None}]}]}
    assert patched(original, patch)["containers"] == [
        {"name": "a", "image": "3", "env": [{"name": "Y", "value": "2"}, {"name": "X"}]},
        {"name": "b", "image": "2"},
    ]


def test_new_elements_come_first_and_lose_their_nulls() -> None:
    # As in Kubernetes' "Update API Objects in Place Using kubectl patch": the second container is listed first.
    patch = {"containers": [{"name": "b", "image": None, "env": [{"name": "X", "$patch": "delete"}]}]}
    assert patched({"containers": containers("a")}, patch)["containers"] == [{"name": "b", "env": []}, {"name": "a"}]
    assert patched({}, {"containers": containers("b")}) == {"containers": containers("b")}


def test_other_lists_are_replaced() -> None:
    assert patched({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}) == {"tolerations": [{"key": "b"}]}
    assert patched({"args": ["a"]}, {"args": []}, "Container") == {"args": []}


def test_sets_are_united() -> None:
    assert patched({"finalizers": ["a", "b"]}, {"finalizers": ["b", "c"]}, "ObjectMeta") == {"finalizers": ["a", "b", "c"]}
    gone = {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}
    assert patched({"finalizers": ["a", "b"]}, gone, "ObjectMeta") == {"finalizers": ["b"]}
    assert patched({"finalizers": ["a", "b"]}, {**gone, "finalizers": ["c"]}, "ObjectMeta") == {"finalizers": ["c", "b"]}
    assert patched({}, gone, "ObjectMeta") == {}


def test_service_ports_and_conditions_have_their_own_keys() -> None:
    ports = {"ports": [{"port": 80, "name": "http"}, {"port": 443}]}
    assert patched(ports, {"ports": [{"port": 80, "targetPort": 8080}]}, "ServiceSpec")["ports"][0] == {
        "port": 80, "name": "http", "targetPort": 8080,
    }  # fmt: skip
    conditions = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert patched(conditions, patch, "Node")["status"]["conditions"] == [{"type": "Ready", "status": "False"}]


def test_elements_are_deleted() -> None:
    patch = {"containers": [{"name": "a", "$patch": "delete"}, {"name": "x", "$patch": "delete"}]}
    assert patched({"containers": containers("a", "b")}, patch) == {"containers": containers("b")}


def test_a_list_or_map_is_replaced_as_a_whole() -> None:
    original = {"containers": containers("a", "b"), "nodeSelector": {"a": "1"}}
    patch = {"containers": [{"$patch": "replace"}, {"name": "c"}], "nodeSelector": {"$patch": "replace", "b": "2"}}
    assert patched(original, patch) == {"containers": containers("c"), "nodeSelector": {"b": "2"}}
    assert patched(original, {"nodeSelector": {"$patch": "delete"}})["nodeSelector"] == {}
    assert patched(original, {"$patch": "replace", "hostname": "x"}) == {"hostname": "x"}
    assert patched(original, {"$patch": "delete"}) == {}
    assert patched(original, {"nodeSelector": {"$patch": "merge", "b": "2"}})["nodeSelector"] == {"a": "1", "b": "2"}


def test_the_order_is_set() -> None:
    original = {"containers": containers("a", "b", "c")}
    order = {"$setElementOrder/containers": containers("c", "a", "b")}
    assert patched(original, order) == {"containers": containers("c", "a", "b")}
    added = {"$setElementOrder/containers": containers("new", "c", "a"), "containers": containers("new")}
    # "b" is not in the order: another client added it. It stays before the first that it was before.
    assert patched(original, added) == {"containers": containers("new", "b", "c", "a")}
    finalizers = {"$setElementOrder/finalizers": ["b", "a"]}
    assert patched({"finalizers": ["a", "b", "z"]}, finalizers, "ObjectMeta") == {"finalizers": ["b", "a", "z"]}
    assert patched({}, order) == {}


def test_others_stay_between_their_neighbours() -> None:
    original = {"containers": containers("x", "a", "y", "b", "z")}
    order = {"$setElementOrder/containers": containers("a", "b")}
    assert patched(original, order) == original


def test_what_kubectl_apply_sends() -> None:
    original = {"containers": [{"name": "web", "image": "a:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}
    patch = {
        "$setElementOrder/containers": [{"name": "web"}],
        "containers": [{"name": "web", "image": "a:2", "$setElementOrder/ports": [{"containerPort": 80}]}],
    }
    assert patched(original, patch) == {"containers": [{**original["containers"][0], "image": "a:2"}]}
    strategy = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    rolling = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    assert patched(rolling, strategy, "DeploymentSpec") == {"strategy": {"type": "Recreate"}}


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ([], "must be an object"),
        ({"containers": [{"image": "x"}]}, "does not contain its merge key: name"),
        ({"containers": ["x"]}, "does not contain its merge key: name"),
        ({"containers": [{"name": {}}]}, "must be a string or a number"),
        ({"containers": [{"name": "a", "$patch": "merge"}]}, "unknown patch type"),
        ({"containers": [{"$patch": "delete"}]}, "merge key"),
        ({"nodeSelector": {"$patch": "x"}}, "unknown patch type"),
        ({"nodeSelector": {"$patch": []}}, "unknown patch type"),
        ({"$retainKeys": "x"}, "must be a list of strings"),
        ({"$retainKeys": [[]]}, "must be a list of strings"),
        ({"$retainKeys": [], "hostname": "x"}, "must name every field"),
        ({"$setElementOrder/containers": {}}, "must be lists"),
        ({"$setElementOrder/tolerations": []}, "does not take these directives"),
        ({"$deleteFromPrimitiveList/containers": []}, "does not take these directives"),
        ({"$setElementOrder/containers": containers("a"), "containers": containers("b")}, "does not match"),
        ({"$setElementOrder/containers": containers("a", "b"), "containers": containers("b", "a")}, "does not match"),
        ({"containers": {"a": 1}, "$setElementOrder/containers": containers("a")}, "must be lists"),
    ],
)
def test_what_is_refused(patch: Any, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        strategic_merge_patch({"containers": containers("a", "b")}, patch, "PodSpec")


def test_a_deep_patch_is_refused() -> None:
    patch: JSON = {}
    for _ in range(100):
        patch = {"a": patch}
    with pytest.raises(InvalidError, match="deeper"):
        strategic_merge_patch({}, patch, "PodSpec")


def unique(key: str, elements: st.SearchStrategy[JSON]) -> st.SearchStrategy[list[JSON]]:
    return st.lists(elements, max_size=4, unique_by=lambda element: element[key])


NAMES = st.sampled_from("abcd")
MAPS = st.dictionaries(NAMES, st.none() | NAMES, max_size=3)
ENV = unique("name", st.fixed_dictionaries({"name": NAMES}, optional={"value": st.none() | NAMES, "$patch": st.just("delete")}))
CONTAINERS = unique(
    "name",
    st.fixed_dictionaries({"name": NAMES}, optional={"image": st.none() | NAMES, "env": ENV, "$patch": st.just("delete")}),
)
PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "labels": MAPS,
                "finalizers": st.lists(NAMES, max_size=3),
                "$deleteFromPrimitiveList/finalizers": st.lists(NAMES, max_size=2),
            },
        ),
        "spec": st.fixed_dictionaries(
            {}, optional={"containers": CONTAINERS, "nodeSelector": MAPS, "hostname": st.none() | NAMES}
        ),
    },
)


@given(st.lists(PATCHES, max_size=3), PATCHES)
def test_a_strategic_merge_patch_is_idempotent(history: list[JSON], patch: JSON) -> None:
    original: JSON = {}
    for each in history:
        original = patched(original, each, "Pod")
    once = patched(original, patch, "Pod")
    assert "$patch" not in repr(once)
    assert patched(once, patch, "Pod") == once


@given(st.permutations("abcd"), st.lists(NAMES, unique=True))
def test_an_order_keeps_every_element(names: list[str], order: list[str]) -> None:
    result = patched({"containers": containers(*names)}, {"$setElementOrder/containers": containers(*order)})
    found = [each["name"] for each in result["containers"]]
    assert sorted(found) == sorted(names)
    assert [name for name in found if name in order] == order
    others = [name for name in names if name not in order]
    assert [name for name in found if name not in order] == others


KEYS = st.sampled_from(
    [
        *("spec", "metadata", "containers", "env", "name", "finalizers"),
        *(
            "$patch",
            "$retainKeys",
            "$setElementOrder/containers",
            "$deleteFromPrimitiveList/finalizers",
            "$setElementOrder/",
            "$x",
        ),
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.sampled_from(["a", "delete", "replace", "merge", 1]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=15,
)


@given(
    st.dictionaries(KEYS, ANYTHING, max_size=4),
    ANYTHING,
    st.sampled_from(["Pod", "PodSpec", "ObjectMeta", "Device", "Nonsense"]),
)
def test_any_patch_applies_or_is_refused(original: JSON, patch: Any, of: str) -> None:
    try:
        strategic_merge_patch(original, patch, of)
    except InvalidError as error:
        assert "\n" not in str(error)
