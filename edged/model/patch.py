"""The patches that a client may send: JSON Patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

They take values within the limits of `limits.py` and raise InvalidError only; no argument is changed.
"""

from typing import Any

from edged.errors import InvalidError
from edged.model.limits import MAX_DEPTH, MAX_NODES, measure
from edged.model.meta import JSON
from edged.model.strategic import strategic_merge_patch

__all__ = ["json_patch", "merge_patch", "strategic_merge_patch"]

MAX_OPERATIONS = 1_000  # in one JSON Patch: as many as are applied in 50 ms; those of people have ten
_NEEDS = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from", "remove": "path"}


def merge_patch(original: JSON, patch: Any) -> JSON:
    """RFC 7386: maps are merged, null deletes, all else is replaced."""
    if not isinstance(patch, dict):
        raise InvalidError("a merge patch must be an object")
    if measure(patch)[1] > MAX_DEPTH:
        raise InvalidError(f"the patch is nested deeper than {MAX_DEPTH} levels")
    return _merged(original, patch)


def _merged(original: Any, patch: JSON) -> JSON:
    merged = dict(original) if isinstance(original, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value) if isinstance(value, dict) else value
    return merged


def json_patch(original: JSON, patch: Any) -> JSON:
    """RFC 6902: all operations, or none when one fails. What they copy and nest stays within MAX_NODES and MAX_DEPTH."""
    import jsonpatch  # noqa: PLC0415 - loaded when the first such patch comes
    from jsonpointer import JsonPointer, JsonPointerException  # noqa: PLC0415

    def growth(operation: JSON) -> int:
        source = JsonPointer(operation["from"]).resolve(value) if _NEEDS[operation["op"]] == "from" else operation["value"]
        nodes, depth = measure(source)
        if len(JsonPointer(operation["path"]).parts) + depth > MAX_DEPTH:
            raise InvalidError(f"the patch nests deeper than {MAX_DEPTH} levels")
        return nodes

    _check_operations(patch)
    value: Any = original
    budget = MAX_NODES
    for at, operation in enumerate(patch):
        try:
            if operation["op"] not in {"remove", "test"}:
                budget -= growth(operation)
            if budget < 0:
                raise InvalidError(f"the patch adds, moves and copies more than {MAX_NODES} values")
            value = jsonpatch.JsonPatch([operation]).apply(value, in_place=at > 0)
        except (jsonpatch.JsonPatchException, JsonPointerException) as error:
            where = f"{operation['op']} {operation['path'][:128]}"
            why = str(error).partition(" in {")[0][:256]  # what follows is the whole object
            raise InvalidError(f"the operation {at + 1} of the patch, {where}, fails: {why}") from None
    if not isinstance(value, dict):
        raise InvalidError("the patch leaves no object")
    return value


def _check_operations(patch: Any) -> None:
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise InvalidError("a JSON patch must be a list of operations")
    if len(patch) > MAX_OPERATIONS:
        raise InvalidError(f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}")
    for at, operation in enumerate(patch):
        kind = operation.get("op")
        if not isinstance(kind, str) or kind not in _NEEDS:
            raise InvalidError(f"the operation {at + 1} of the patch is none of {', '.join(_NEEDS)}")
        if not isinstance(operation.get("path"), str):
            raise InvalidError(f"the operation {at + 1} of the patch has no path")
        need = _NEEDS[kind]
        if need not in operation or (need == "from" and not isinstance(operation["from"], str)):
            raise InvalidError(f"the operation {at + 1} of the patch, {kind}, has no {need}")
