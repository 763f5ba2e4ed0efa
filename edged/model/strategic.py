"""Kubernetes' strategic merge patch: a merge patch that knows which lists are maps by a key, and which are sets.

Directives: `$patch: replace|delete|merge` in a map or a list element, `$retainKeys`, `$setElementOrder/<list>`,
`$deleteFromPrimitiveList/<list>` (sig-api-machinery, "strategic-merge-patch.md").
"""

from collections.abc import Sequence
from typing import Any

from edged.errors import InvalidError
from edged.model.fields import fields, is_struct
from edged.model.limits import MAX_DEPTH, measure
from edged.model.meta import JSON

_CONTAINER = {"ports": "containerPort", "env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath"}
_BY_TYPE = {"conditions": "type"}

MERGE_KEYS: dict[str, dict[str, str]] = {
    "ObjectMeta": {"ownerReferences": "uid"},
    "PodSpec": {
        "containers": "name",
        "ephemeralContainers": "name",
        "hostAliases": "ip",
        "imagePullSecrets": "name",
        "initContainers": "name",
        "resourceClaims": "name",
        "schedulingGates": "name",
        "topologySpreadConstraints": "topologyKey",
        "volumes": "name",
    },
    "Container": _CONTAINER,
    "EphemeralContainer": _CONTAINER,
    "PodStatus": {**_BY_TYPE, "hostIPs": "ip", "podIPs": "ip", "resourceClaimStatuses": "name"},
    "ServiceSpec": {"ports": "port"},
    "ServiceStatus": _BY_TYPE,
    "NodeStatus": {**_BY_TYPE, "addresses": "type"},
    "NamespaceStatus": _BY_TYPE,
    "DeploymentStatus": _BY_TYPE,
}
SETS: dict[str, frozenset[str]] = {"ObjectMeta": frozenset({"finalizers"}), "NodeSpec": frozenset({"podCIDRs"})}

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def strategic_merge_patch(original: JSON, patch: Any, type_name: str) -> JSON:
    """`original` (an object of the table's type `type_name`) patched; neither argument is changed."""
    if not isinstance(patch, dict):
        raise InvalidError("a strategic merge patch must be an object")
    if measure(patch)[1] > MAX_DEPTH:
        raise InvalidError(f"the patch is nested deeper than {MAX_DEPTH} levels")
    return _merge(original, patch, type_name)


def _merge(original: JSON, patch: JSON, of: str) -> JSON:
    directive = patch.get("$patch", "merge")
    plain = {name: value for name, value in patch.items() if not name.startswith((_ORDER, _DELETE))}
    plain.pop("$patch", None)
    if directive == "replace":
        return plain
    if directive == "delete":
        return {}
    if directive != "merge":
        raise InvalidError(f'unknown patch type "{str(directive)[:64]}": $patch is replace, delete or merge')
    merged = _retained(original, plain)
    types = fields(of).types if is_struct(of) else {}
    for name, value in plain.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merge(before if isinstance(before, dict) else {}, value, types.get(name, ""))
        elif not isinstance(value, list):
            merged[name] = value
    for name in _lists(patch):
        merged_list = _merged_list(merged.get(name), patch, name, of, types.get(name, "").removeprefix("[]"))
        if merged_list is not None:
            merged[name] = merged_list
    return merged


def _retained(original: JSON, plain: JSON) -> JSON:
    """A copy of `original` with only the fields that `$retainKeys` names, if it is there."""
    if "$retainKeys" not in plain:
        return dict(original)
    keys = plain.pop("$retainKeys")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InvalidError("$retainKeys must be a list of strings")
    if not plain.keys() <= set(keys):
        raise InvalidError("$retainKeys must name every field that the patch sets")
    return {name: value for name, value in original.items() if name in keys}


def _lists(patch: JSON) -> list[str]:
    """The fields whose lists the patch changes or reorders, each once."""
    named = [name for name, value in patch.items() if isinstance(value, list) and not name.startswith("$")]
    return list(dict.fromkeys([*named, *(name.partition("/")[2] for name in patch if name.startswith((_ORDER, _DELETE)))]))


def _merged_list(before: Any, patch: JSON, name: str, owner: str, of: str) -> list[Any] | None:
    """The field's new list; None when there is nothing to change."""
    items, order, gone = (patch.get(prefix + name) for prefix in ("", _ORDER, _DELETE))
    if not all(value is None or isinstance(value, list) for value in (items, order, gone)):
        raise InvalidError(f"the patch of the list {name} and its directives must be lists")
    key = MERGE_KEYS.get(owner, {}).get(name)
    is_set = name in SETS.get(owner, ())
    if (gone is not None and not is_set) or (order is not None and not is_set and key is None):
        raise InvalidError(f"the list {name} does not take these directives")
    if not is_set and key is None:
        return items
    if before is None and items is None:
        return None
    old = before if isinstance(before, list) else []
    if key is None:
        merged, named = _united(old, items or [], gone or []), items or []
    else:
        merged, named = _joined(old, items or [], key, of)
    present = [_identity(item, key) for item in named]
    wanted = present if order is None else [_identity(item, key) for item in order]
    following = iter(wanted)
    if not all(identity in following for identity in present):
        raise InvalidError(f"the order of the list {name} in the patch does not match its {_ORDER}{name}")
    return _ordered(merged, old, wanted, key)


def _united(old: list[Any], new: list[Any], gone: list[Any]) -> list[Any]:
    left_out = {_identity(item, None) for item in gone}
    kept = [item for item in old if _identity(item, None) not in left_out]
    return list({_identity(item, None): item for item in (*kept, *new)}.values())


def _joined(old: list[Any], new: list[Any], key: str, of: str) -> tuple[list[Any], list[Any]]:
    """The elements of both lists, those with the same key merged; and the elements of the patch without directives."""
    plain = [item for item in new if not (isinstance(item, dict) and "$patch" in item)]
    gone = set()
    for item in new:
        match item.get("$patch") if isinstance(item, dict) else None:
            case None:
                pass
            case "delete":
                gone.add(_identity(item, key))
            case "replace":
                return [_merge({}, each, of) for each in plain], plain
            case other:
                raise InvalidError(f'unknown patch type "{str(other)[:64]}" in a list: $patch is replace or delete')
    merged = [item for item in old if _identity(item, key) not in gone]
    places = {_identity(item, key): place for place, item in reversed(list(enumerate(merged)))}
    for item in plain:
        place = places.setdefault(_identity(item, key), len(merged))
        if place == len(merged):
            merged.append({})
        merged[place] = _merge(merged[place], item, of)
    return merged, plain


def _ordered(merged: list[Any], old: list[Any], wanted: Sequence[Any], key: str | None) -> list[Any]:
    """`merged` with the elements that the patch names in its order, the others put between them by their old places."""
    rank = {identity: place for place, identity in reversed(list(enumerate(wanted)))}
    was = {_identity(item, key): place for place, item in reversed(list(enumerate(old)))}
    named = sorted((item for item in merged if _identity(item, key) in rank), key=lambda item: rank[_identity(item, key)])
    others = [item for item in merged if _identity(item, key) not in rank]
    result: list[Any] = []
    at = 0
    for item in named:
        place = was.get(_identity(item, key), -1)
        while at < len(others) and was[_identity(others[at], key)] < place:
            result.append(others[at])
            at += 1
        result.append(item)
    return result + others[at:]


def _identity(item: Any, key: str | None) -> Any:
    """What makes an element of a set or keyed list the same as another."""
    if key is not None:
        if not isinstance(item, dict) or key not in item:
            raise InvalidError(f"an element of a list does not contain its merge key: {key}")
        item = item[key]
    if not isinstance(item, str | int | float):
        raise InvalidError("an element of a set, or a merge key, must be a string or a number")
    return item
