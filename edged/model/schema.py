"""Checks JSON against the table of fields: wrong types, missing fields, unknown fields, and those not acted on yet.

What passes decodes into the row's struct: the rest of the house may rely on it.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, get_args

import msgspec

from edged.errors import Cause, InvalidError
from edged.model import causes, quantity, times
from edged.model.defaults import DEFAULTS
from edged.model.fields import fields
from edged.model.kinds import Row
from edged.model.limits import MAX_CAUSES, MAX_DEPTH, MAX_NODES
from edged.model.meta import JSON, Part

HIDDEN = "<hidden>"
MAX_PATHS = 32  # unknown or unacted paths that are named, for the same reason as MAX_CAUSES

# Fields that edged does not act on, at values that ask for nothing. (DEFAULTS, and what is empty, ask for nothing too.)
_IDLE: dict[str, JSON] = {
    "ObjectMeta": {"managedFields": ..., "selfLink": ...},
    "PodSpec": {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostIPC": False,
        "hostPID": False,
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "shareProcessNamespace": False,
    },
    "Container": {"stdin": False, "stdinOnce": False, "tty": False},
    "SecurityContext": {"privileged": False, "readOnlyRootFilesystem": False},
    "DeploymentSpec": {"minReadySeconds": 0, "paused": False},
    "ServiceSpec": {"externalTrafficPolicy": "Cluster"},
    "NamespaceSpec": {"finalizers": ["kubernetes"]},
    "ConfigMap": {"immutable": False},
}


class Checked(NamedTuple):
    """What was found. `value` is a copy without nulls and unknown fields, its quantities as Kubernetes writes them.

    `unknown` and `unacted` are field paths; `unacted` ones are known to Kubernetes, kept, and have no effect in edged.
    Each list stops at its limit (MAX_CAUSES, MAX_PATHS).
    """

    errors: list[Cause]
    unknown: list[str]
    unacted: list[str]
    value: JSON


def check(value: JSON, row: Row) -> Checked:
    """Walks `value` as an object of the row's kind. More than MAX_NODES values or MAX_DEPTH levels are an error."""
    walk = _Walk()
    kept: JSON = {}
    with suppress(_StopWalkError):
        kept = walk.struct(value, row.kind, row.acts, "", 1)
    for name, expected in (("apiVersion", row.api_version), ("kind", row.kind)):
        if kept.get(name, expected) != expected:
            walk.errors.append(causes.invalid(name, kept[name], f"must be {expected}"))
    return Checked(walk.errors, walk.unknown, walk.unacted, kept)


class _StopWalkError(Exception):
    """Enough was found wrong."""


class _Walk:
    """One walk down an object. `acts` is the struct of a part, or None where nothing is to be said about acting on it."""

    def __init__(self) -> None:
        self.errors: list[Cause] = []
        self.unknown: list[str] = []
        self.unacted: list[str] = []
        self.nodes = 0

    def struct(self, value: JSON, of: str, acts: type[Part] | None, path: str, depth: int) -> JSON:
        self.enter(value, path, depth)
        types = fields(of).types
        acted = _acts(acts) if acts is not None else None
        kept: JSON = {}
        for name, item in value.items():
            if item is None:
                continue
            field_type = types.get(name)
            if field_type is None:
                self.note(self.unknown, _join(path, _safe(name)))
                continue
            where = _join(path, name)
            if (
                acted is not None
                and name not in acted.fields
                and not _is_status(where)
                and not _is_idle(item, of, name, field_type)
            ):
                self.note(self.unacted, where)
            below = acted.fields.get(name) if acted is not None else None
            kept[name] = self.value(item, field_type, below, where, depth)
        required = fields(of).required
        if _is_status(path):  # a node's own words: only what the struct cannot do without is asked of them
            required = acted.required if acted is not None else ()
        for name in required:
            if name not in kept:
                self.wrong(causes.required(_join(path, name)))
        return kept

    def value(self, value: Any, of: str, acts: type[Part] | None, path: str, depth: int) -> Any:
        if (leaf := _LEAVES.get(of)) is not None:
            return self.leaf(value, leaf, path)
        if of.startswith("[]"):
            return self.sequence(value, of[2:], acts, path, depth + 1)
        if of.startswith("{}"):
            return self.mapping(value, of[2:], path, depth + 1)
        if of == "any":
            return self.free(value, path, depth + 1)
        if not isinstance(value, dict):
            self.wrong(causes.mistyped(path, value, "object"))
            return value
        return self.struct(value, of, acts, path, depth + 1)

    def sequence(self, value: Any, of: str, acts: type[Part] | None, path: str, depth: int) -> Any:
        if not isinstance(value, list):
            self.wrong(causes.mistyped(path, value, "array"))
            return value
        self.enter(value, path, depth)
        return [self.value(item, of, acts, f"{path}[{at}]", depth) for at, item in enumerate(value)]

    def mapping(self, value: Any, of: str, path: str, depth: int) -> Any:
        if not isinstance(value, dict):
            self.wrong(causes.mistyped(path, value, "object"))
            return value
        self.enter(value, path, depth)
        if of == "string" and all(type(item) is str for item in value.values()):
            return value
        return {
            key: self.value(item, of, None, f"{path}[{_safe(key)}]", depth) for key, item in value.items() if item is not None
        }

    def free(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, dict):
            self.enter(value, path, depth)
            return {key: self.free(item, path, depth + 1) for key, item in value.items() if item is not None}
        if isinstance(value, list):
            self.enter(value, path, depth)
            return [self.free(item, path, depth + 1) for item in value]
        return value

    def leaf(self, value: Any, leaf: "_Leaf", path: str) -> Any:
        if type(value) not in leaf.types:
            self.wrong(causes.mistyped(path, value, leaf.expected))
        elif leaf.read is not None:
            try:
                return leaf.read(value)
            except InvalidError as error:
                shown = HIDDEN if leaf.hidden else value
                self.wrong(causes.invalid(path, shown, str(error).replace("{path}", path)))
        return value

    def enter(self, value: JSON | list[Any], path: str, depth: int) -> None:
        self.nodes += len(value)
        if self.nodes > MAX_NODES:
            self.wrong(Cause(path, "FieldValueInvalid", f"the object holds more than {MAX_NODES} values"), last=True)
        if depth > MAX_DEPTH:
            self.wrong(Cause(path, "FieldValueInvalid", f"nested deeper than {MAX_DEPTH} levels"), last=True)

    def wrong(self, cause: Cause, *, last: bool = False) -> None:
        self.errors.append(cause)
        if last or len(self.errors) >= MAX_CAUSES:
            raise _StopWalkError

    def note(self, paths: list[str], path: str) -> None:
        if len(paths) < MAX_PATHS:
            paths.append(path)


class _Acts(NamedTuple):
    """A struct as the walk needs it: field name -> the struct of what is below (or None), and the required names."""

    fields: dict[str, type[Part] | None]
    required: tuple[str, ...]


@cache
def _acts(struct: type[Part]) -> _Acts:
    found = msgspec.structs.fields(struct)
    below = {field.encode_name: next(_structs(field.type), None) for field in found}
    return _Acts(below, tuple(field.encode_name for field in found if field.required))


def _structs(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for argument in get_args(annotation):
        yield from _structs(argument)


def _is_idle(item: Any, owner: str, name: str, of: str) -> bool:
    """Whether a field that is not acted on asks for nothing, so that nobody need be told."""
    if item is None or item in ("", [], {}):
        return True
    idle = _IDLE.get(owner, {}).get(name)
    if idle is ... or (item == idle and type(item) is type(idle)) or item == DEFAULTS.get(owner, {}).get(name):
        return True
    if not isinstance(item, dict) or of in _LEAVES or of == "any" or of.startswith(("[]", "{}")):
        return False
    types = fields(of).types
    return all(_is_idle(value, of, field, types.get(field, "any")) for field, value in item.items())


class _Leaf(NamedTuple):
    """A type without parts: the JSON types that it takes, their name for a person, and what else it asks for.

    `read` returns the value to keep, or raises InvalidError; `{path}` in its text stands for the field. A wrong value that
    is `hidden` is not repeated in the answer: it may be a secret.
    """

    types: frozenset[type]
    expected: str
    read: Callable[[Any], Any] | None = None
    hidden: bool = False


def _in_range(lowest: int, highest: int) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, int) and not lowest <= value <= highest:
            bound = f"greater than or equal to {lowest}" if value < lowest else f"less than or equal to {highest}"
            raise InvalidError(f"{{path}} in body should be {bound}")
        return value

    return read


def _quantity(value: Any) -> str:
    return quantity.canonical(str(value))


def _time(value: Any) -> Any:
    try:
        times.parse_time(value)
    except InvalidError:
        raise InvalidError(f"{{path}} in body must be of type date-time: {causes.shown(value)}") from None
    return value


def _base64(value: Any) -> Any:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidError("{path} in body must be of type byte (base64)") from None
    return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_status(path: str) -> bool:
    return path == "status" or path.startswith(("status.", "status["))


_PRINTABLE = re.compile(r"[A-Za-z0-9_$./:-]{1,128}")


def _safe(name: str) -> str:
    """A name out of the body as part of a path: paths go into headers and logs."""
    return name if _PRINTABLE.fullmatch(name) else ascii(name[:128])


_STRING = frozenset({str})
_INTEGER = frozenset({int})
_LEAVES = {
    "string": _Leaf(_STRING, "string"),
    "boolean": _Leaf(frozenset({bool}), "boolean"),
    "int32": _Leaf(_INTEGER, "integer", _in_range(-(2**31), 2**31 - 1)),
    "int64": _Leaf(_INTEGER, "integer", _in_range(-(2**63), 2**63 - 1)),
    "number": _Leaf(frozenset({int, float}), "number"),
    "IntOrString": _Leaf(frozenset({int, str}), "integer or string", _in_range(-(2**31), 2**31 - 1)),
    "Quantity": _Leaf(frozenset({int, float, str}), "string", _quantity),
    "Time": _Leaf(_STRING, "string", _time),
    "MicroTime": _Leaf(_STRING, "string", _time),
    "bytes": _Leaf(_STRING, "string", _base64, hidden=True),
}
