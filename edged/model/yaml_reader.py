"""YAML as Kubernetes reads it, into JSON values: one document, no anchors, plain scalars typed by YAML 1.1's rules.

The values are built from libyaml's events, so that limits hold before anything is built and each error has its line.
Timestamps and sexagesimal numbers stay strings, as in Kubernetes.
"""

import re
from typing import Any, Protocol

import yaml

from edged.errors import InvalidError
from edged.model.limits import MAX_DEPTH, MAX_NODES

_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|(?:0|[1-9][0-9_]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,2})?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS = 40  # more than any integer field takes; int() of thousands of digits is slow
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}


class _Mark(Protocol):
    """A place in the text, counted from 0."""

    line: int
    column: int


def read_yaml(text: str) -> Any:
    """The value of the only document; None for an empty text. InvalidError for anything else."""
    loader = yaml.CSafeLoader(text)
    try:
        return _Builder(loader).document()
    except yaml.MarkedYAMLError as error:
        what = error.problem or error.context or "it cannot be read"
        raise _wrong(str(what), error.problem_mark) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise InvalidError(f"invalid YAML: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()


class _Builder:
    """Builds the value from the events of one stream."""

    def __init__(self, loader: yaml.CSafeLoader) -> None:
        self.loader = loader
        self.nodes = 0

    def document(self) -> Any:
        self.next()  # the stream's start
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self.value(self.next(), 0)
        self.next()  # the document's end
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _wrong("only one document is expected, and there is another", event.start_mark)
        return value

    def value(self, event: yaml.Event, depth: int) -> Any:
        self.check(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(depth + 1)
        return self.mapping(depth + 1)

    def sequence(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            items.append(self.value(event, depth))
        return items

    def mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            self.check(event, depth)
            if not isinstance(event, yaml.ScalarEvent):
                raise _wrong("a key must be a string", event.start_mark)
            if event.value in found:
                raise _wrong(f'key "{event.value[:128]}" already set in map', event.start_mark)
            found[event.value] = self.value(self.next(), depth)
        return found

    def check(self, event: yaml.Event, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _wrong(f"the body holds more than {MAX_NODES} values", event.start_mark)
        if not isinstance(event, yaml.NodeEvent) or isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _wrong("anchors and aliases are not allowed", event.start_mark)
        if depth >= MAX_DEPTH and isinstance(event, yaml.CollectionStartEvent):
            raise _wrong(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        tag = event.tag if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) else None
        if tag is not None and tag not in _TAGS and tag != "!":
            raise _wrong(f'the tag "{tag[:128]}" is not allowed', event.start_mark)

    def next(self) -> yaml.Event:
        event = self.loader.get_event()
        assert event is not None  # noqa: S101 - there is always one before the stream's end
        return event


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    tag = event.tag.rpartition(":")[2] if event.tag else None
    if tag in {"str", "!"} or (tag is None and not event.implicit[0]):
        return text
    value = _plain(text, event)
    kinds: dict[str | None, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    if tag is not None and not isinstance(value, kinds.get(tag, object)):
        raise _wrong(f"not a value of the tag !!{tag}", event.start_mark)
    return value


def _plain(text: str, event: yaml.ScalarEvent) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= _MAX_DIGITS and text[0] in "+-.0123456789":
        if _INT.fullmatch(text):
            return _integer(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            return float(text)
        if _INFINITE.fullmatch(text):
            raise _wrong(f"{text} is not a number of JSON", event.start_mark)
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    # YAML 1.1 writes octal numbers with a bare leading zero (a file's mode: 0644).
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = int(digits, 8 if octal else 0)
    return -value if text.startswith("-") else value


def _wrong(what: str, mark: _Mark | None) -> InvalidError:
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return InvalidError(f"invalid YAML: {what}{where}")
