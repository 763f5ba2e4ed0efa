"""Settings from files, the environment and flags into one frozen struct; a mistake is one line that says where and what.

A struct's fields are the keys: `Annotated[type, Meta(description=..., extra={"check": f})]`, where `f(value)` raises
ValueError with what was expected. Each source is checked by itself, so an error names the source; then they are merged.
"""

import difflib
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from edged.errors import EdgedError

T = TypeVar("T", bound=msgspec.Struct)

MAX_FILE = 1 << 20  # bytes: a settings file of thousands of peers is under 200 kB


class ConfigError(EdgedError):
    """A setting cannot be used. The text: the file or variable, the key's path, what was expected, the nearest known key."""


class Source(NamedTuple):
    """Where settings come from (a file's path, a variable, a flag), and the tables in it."""

    name: str
    tables: Mapping[str, Any]


def read_toml(path: Path) -> Source:
    """The settings in a TOML file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path}: {len(data)} bytes, at most {MAX_FILE} are taken")
    try:
        return Source(str(path), tomllib.loads(data.decode()))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {_one_line(error)}") from error


def from_environment(type_: type[T], prefix: str, environ: Mapping[str, str]) -> list[Source]:
    """The settings in variables named `prefix` and the key's path in capitals, parts joined by "__".

    A text is taken as it is, a list of texts as comma-separated, anything else as TOML writes it.
    """
    found = []
    for name in sorted(environ):
        if name.startswith(prefix):
            path = name.removeprefix(prefix).lower().split("__")
            found.append(Source(name, _nested(path, _from_text(_find(inspect.type_info(type_), path), environ[name]))))
    return found


def settle(type_: type[T], sources: Iterable[Source]) -> T:
    """The settings of all sources, a later one over an earlier one, tables merged. ConfigError at the first mistake."""
    merged: dict[str, Any] = {}
    for source in sources:
        try:
            _check(inspect.type_info(type_), source.tables, "")
        except _WrongError as error:
            raise ConfigError(f"{source.name}: {error}") from error
        merged = _merged(merged, source.tables)
    return msgspec.convert(merged, type_)


class _WrongError(Exception):
    """A value is not what its key asks for; the text begins with the key's path."""


_EXPECTED: dict[type[inspect.Type], tuple[type | tuple[type, ...], str]] = {
    inspect.StrType: (str, "a text"),
    inspect.BoolType: (bool, "true or false"),
    inspect.IntType: (int, "a whole number"),
    inspect.FloatType: ((int, float), "a number"),
    inspect.ListType: (list, "a list"),
    inspect.VarTupleType: (list, "a list"),
    inspect.DictType: (dict, "a table"),
    inspect.StructType: (dict, "a table"),
}


def _check(info: inspect.Type, value: Any, path: str) -> None:
    if isinstance(info, inspect.Metadata):
        _check(info.type, value, path)
        check = (info.extra or {}).get("check")
        if check is not None:
            try:
                check(value)
            except ValueError as error:
                raise _WrongError(f"{path}: {error}") from error
    elif isinstance(info, inspect.LiteralType):
        if value not in info.values:
            raise _WrongError(f"{path}: expected {_one_of(info.values)}, got {_shown(value)}{_nearest(value, info.values)}")
    elif isinstance(info, inspect.UnionType):  # of a type and None, which TOML cannot write
        _check(next(kind for kind in info.types if not isinstance(kind, inspect.NoneType)), value, path)
    else:
        expected, words = _EXPECTED[type(info)]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise _WrongError(f"{path or 'the file'}: expected {words}, got {_shown(value)}")
        _check_within(info, value, path)


def _check_within(info: inspect.Type, value: Any, path: str) -> None:
    if isinstance(info, inspect.StructType):
        known = {field.encode_name: field.type for field in info.fields}
        for name, inner in value.items():
            if name not in known:
                raise _WrongError(f"{_below(path, name)}: unknown key, expected {_one_of(known)}{_nearest(name, known)}")
            _check(known[name], inner, _below(path, name))
    elif isinstance(info, inspect.DictType):
        for name, inner in value.items():
            _check(info.key_type, name, _below(path, name))
            _check(info.value_type, inner, _below(path, name))
    elif isinstance(info, inspect.ListType | inspect.VarTupleType):
        for index, inner in enumerate(value):
            _check(info.item_type, inner, f"{path}[{index}]")
    elif isinstance(info, inspect.IntType):
        low, high = info.ge, info.le
        if (low is not None and value < low) or (high is not None and value > high):
            raise _WrongError(f"{path}: expected a whole number from {low} to {high}, got {value}")
    elif isinstance(info, inspect.FloatType):
        least = -sys.float_info.max if info.ge is None else info.ge  # which leaves out infinity and what is no number
        most = sys.float_info.max if info.le is None else info.le
        if not least <= value <= most:
            raise _WrongError(f"{path}: expected a number from {least:g} to {most:g}, got {_shown(value)}")


def _find(info: inspect.Type, path: Sequence[str]) -> inspect.Type | None:
    """The type of the key at `path`; None when there is no such key."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    if not path:
        return info
    if isinstance(info, inspect.StructType):
        inner = {field.encode_name: field.type for field in info.fields}.get(path[0])
        return None if inner is None else _find(inner, path[1:])
    return _find(info.value_type, path[1:]) if isinstance(info, inspect.DictType) else None


def _from_text(info: inspect.Type | None, text: str) -> Any:
    if info is None or isinstance(info, inspect.StrType | inspect.LiteralType):
        return text
    if isinstance(info, inspect.ListType | inspect.VarTupleType) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text  # of the wrong type: the check says what was expected


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    tables: dict[str, Any] = value
    return tables


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for name, value in over.items():
        below = result.get(name)
        result[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _one_of(names: Iterable[Any]) -> str:
    return "one of " + ", ".join(str(name) for name in names)


def _nearest(name: Any, known: Iterable[Any]) -> str:
    near = difflib.get_close_matches(str(name), [str(one) for one in known], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "..."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
