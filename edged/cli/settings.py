"""`edged config`: the settings in force, each with its description."""

import argparse
import json
import os
import sys
from typing import Any

import msgspec
from msgspec import inspect

from edged import config
from edged.cli import exits


def check(arguments: argparse.Namespace) -> int:
    """`edged config check`: load all settings and say which files they are from."""
    config.load(arguments.config, os.environ)
    read = config.files(arguments.config, os.environ)
    sys.stdout.write(f"ok: {', '.join(map(str, read)) or 'no files, the defaults'}\n")
    return exits.OK


def show(arguments: argparse.Namespace) -> int:
    """`edged config show`: print the settings in force."""
    loaded = _showable(config.load(arguments.config, os.environ))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(loaded)).decode() + "\n" if arguments.json else toml(loaded))
    return exits.OK


def _showable(settings: Any) -> Any:
    """The settings without what is secret in them."""
    changed = {}
    for field in _fields(type(settings)):
        value = getattr(settings, field.name)
        extra = field.type.extra if isinstance(field.type, inspect.Metadata) else None
        if isinstance(value, msgspec.Struct):
            changed[field.name] = _showable(value)
        elif extra is not None and "show" in extra:
            changed[field.name] = extra["show"](value)
    return msgspec.structs.replace(settings, **changed)


def toml(settings: config.Config) -> str:
    """The settings as edged.toml, a comment with its description before each key."""
    lines = []
    for section in _fields(type(settings)):
        table = getattr(settings, section.name)
        lines.append(f"[{section.name}]")
        for field in _fields(type(table)):
            value = getattr(table, field.name)
            lines += [f"# {_description(field)}", f"# {field.name} =" if value is None else f"{field.name} = {_literal(value)}"]
        lines.append("")
    return "\n".join(lines)


def _description(field: inspect.Field) -> str:
    schema = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
    return str((schema or {})["description"])


def _fields(type_: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(type_)
    return info.fields if isinstance(info, inspect.StructType) else ()


def _literal(value: Any) -> str:
    """A value as TOML writes it. Its basic strings are those of JSON, but for one control character."""
    if isinstance(value, dict):
        pairs = [f"{_literal(name)} = {_literal(inner)}" for name, inner in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
