"""Request bodies: JSON or YAML into plain values, within the limits of `limits.py`.

The limits are checked on the bytes (JSON) or event by event (YAML), before anything is built. Refused as well, with one
line that says where: what is ambiguous (duplicate keys), what may explode (YAML anchors and aliases), what JSON cannot
say (NaN, infinity, lone surrogates).
"""

import json
import math
from itertools import pairwise
from typing import Any

from edged.errors import InvalidError
from edged.model.causes import json_type
from edged.model.limits import MAX_BODY, MAX_DEPTH, MAX_NODES
from edged.model.meta import JSON

__all__ = ["MAX_BODY", "parse", "read"]

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_CLOSED = b"[]"


def parse(data: bytes, content_type: str) -> JSON:
    """The one object in a body; InvalidError when it is none."""
    value = read(data, content_type)
    if not isinstance(value, dict):
        raise InvalidError(f"the body must be an object, and is of type {json_type(value)}")
    return value


def read(data: bytes, content_type: str) -> Any:
    """The one value in a body: YAML when the content type ends with `yaml`, else JSON. InvalidError when it is none."""
    if len(data) > MAX_BODY:
        raise InvalidError(f"the body is larger than {MAX_BODY} bytes")
    media = content_type.partition(";")[0].strip().lower()
    return _read_yaml(data) if media.endswith("yaml") else _read_json(data)


def _read_json(data: bytes) -> Any:
    _check_shape(data)
    try:
        value = json.loads(_text(data), object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InvalidError(f"invalid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise InvalidError("invalid JSON: a number has more digits than are read") from None
    if rb"\ud" in data.lower():
        _check_unicode(value)
    return value


def _check_shape(data: bytes) -> None:
    """Refuses too many values and too deep nesting, by counting brackets outside of strings. Bad JSON passes, or not."""
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * MAX_NODES:  # a value and its key have four quotes
        raise _too_many()
    outside = b"".join(plain.split(b'"')[::2])
    brackets = outside.translate(_BRACKETS, _NOT_BRACKETS)
    if outside.count(b",") + brackets.count(b"[") > MAX_NODES:
        raise _too_many()
    for _ in range(MAX_DEPTH):  # each pass takes the innermost lists and maps away
        if _CLOSED not in brackets:
            return
        brackets = brackets.replace(_CLOSED, b"")
    if brackets:
        raise _too_deep()


def _object(pairs: list[tuple[str, Any]]) -> JSON:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = sorted(name for name, _ in pairs)
        again = next(name for name, following in pairwise(names) if name == following)
        raise InvalidError(f'invalid JSON: duplicate field "{again[:128]}"')
    return value


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidError(f"invalid JSON: {text[:32]} is too large for a number")
    return number


def _no_constant(name: str) -> Any:
    raise InvalidError(f"invalid JSON: {name} is not a number of JSON")


def _check_unicode(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidError("invalid JSON: a \\u escape is half of a surrogate pair") from None


def _read_yaml(data: bytes) -> Any:
    from edged.model.yaml_reader import read_yaml  # noqa: PLC0415 - PyYAML is loaded when the first YAML comes

    return read_yaml(_text(data))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidError(f"the body is not UTF-8: {error.reason} at byte {error.start}, line {line}") from None


def _too_many() -> InvalidError:
    return InvalidError(f"the body holds more than {MAX_NODES} values")


def _too_deep() -> InvalidError:
    return InvalidError(f"the body is nested deeper than {MAX_DEPTH} levels")
