"""What may be wrong with a field, in Kubernetes' words (apimachinery, `validation/field`)."""

import json
from collections.abc import Iterable
from typing import Any

from edged.errors import Cause

MAX_SHOWN = 128  # characters of a wrong value that an answer repeats: its writer knows it again


def required(path: str, detail: str = "") -> Cause:
    """The field must be there and not empty."""
    return Cause(path, "FieldValueRequired", _said("Required value", detail))


def invalid(path: str, value: Any, detail: str) -> Cause:
    """The field's value is not what it may be."""
    return Cause(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}")


def mistyped(path: str, value: Any, expected: str) -> Cause:
    """The field holds another JSON type; `expected` is one or more of the types' names."""
    found = json_type(value)
    detail = f'{path or "<root>"} in body must be of type {expected}: "{found}"'
    return Cause(path, "FieldValueTypeInvalid", f'Invalid value: "{found}": {detail}')


def unsupported(path: str, value: Any, supported: Iterable[str]) -> Cause:
    """The field's value is none of an enumeration."""
    choices = ", ".join(f'"{choice}"' for choice in supported)
    return Cause(path, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {choices}")


def duplicate(path: str, value: Any) -> Cause:
    """A value that must be unique in its list was there before."""
    return Cause(path, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def forbidden(path: str, detail: str) -> Cause:
    """The field may not be set, or not changed."""
    return Cause(path, "FieldValueForbidden", _said("Forbidden", detail))


def too_long(path: str, limit: int) -> Cause:
    """The field holds more bytes than `limit`."""
    return Cause(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def shown(value: Any) -> str:
    """A value as JSON in one short line, for a person to see which one is meant."""
    if isinstance(value, str):
        text = json.dumps(value[:MAX_SHOWN], ensure_ascii=False)
        return text if len(value) <= MAX_SHOWN else f'{text[:-1]}..."'
    if isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    else:
        text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def json_type(value: Any) -> str:
    """The name of a value's JSON type, as OpenAPI calls it."""
    if value is None:
        return "null"
    for kind, name in ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return "array"


def _said(what: str, detail: str) -> str:
    return f"{what}: {detail}" if detail else what
