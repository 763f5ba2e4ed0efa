"""Selectors: which objects are meant, by their labels (`-l`) or by simple fields (`--field-selector`)."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from edged.errors import InvalidError
from edged.model import names
from edged.model.meta import JSON, LabelSelector

MAX_TERMS = 256  # requirements in one selector: far above any that a person or a controller writes

_SYMBOLS = {"=": "In", "==": "In", "!=": "NotIn"}
_WORDS = {"in": "In", "notin": "NotIn"}
_TOKEN = re.compile(r"\s*(==|!=|[=!(),]|[^\s=!(),]+)\s*")


class Requirement(NamedTuple):
    """One expression. Absent labels match `NotIn` and `DoesNotExist`, as in Kubernetes."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels fulfil it."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
        return value is None


class Selector(NamedTuple):
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels are selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def of_struct(selector: LabelSelector) -> Selector:
    """The selector of an object's spec, as it was validated."""
    equal = (Requirement(key, "In", (value,)) for key, value in selector.match_labels.items())
    other = (Requirement(each.key, each.operator, each.values) for each in selector.match_expressions)
    return Selector((*equal, *other))


def of_labels(labels: Mapping[str, str]) -> Selector:
    """Objects that carry all of these labels, as a service's selector means it."""
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in labels.items()))


def parse_labels(text: str) -> Selector:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k` as a selector; InvalidError says what is wrong with it."""
    return Selector(tuple(_Parser(text).requirements()))


class _Parser:
    """Reads a label selector, token by token."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(text)
        self.at = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self.peek():
            found.append(self.requirement())
            if len(found) > MAX_TERMS:
                raise _unparsable(f"more than {MAX_TERMS} requirements")
            if self.peek():
                self.expect(",")
                if not self.peek():
                    raise _unparsable("found '', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.next()
            return Requirement(self.key(), "DoesNotExist")
        key = self.key()
        operator = self.peek()
        if operator in _SYMBOLS:
            self.next()
            return Requirement(key, _SYMBOLS[operator], (self.value(),))
        if operator in _WORDS:
            self.next()
            return Requirement(key, _WORDS[operator], self.value_set())
        if operator not in {"", ","}:
            raise _unparsable(f"found '{operator}', expected: in, notin, =, ==, !=, ','")
        return Requirement(key, "Exists")

    def value_set(self) -> tuple[str, ...]:
        self.expect("(")
        values = [self.value()]
        while self.peek() == ",":
            self.next()
            values.append(self.value())
        self.expect(")")
        return tuple(values)

    def key(self) -> str:
        key = self.next()
        if wrong := names.qualified(key):
            raise _unparsable(f'key: Invalid value: "{key}": {wrong}')
        return key

    def value(self) -> str:
        if self.peek() in {"", ",", ")"}:
            return ""
        value = self.next()
        if wrong := names.label_value(value):
            raise _unparsable(f'values[0]: Invalid value: "{value}": {wrong}')
        return value

    def expect(self, token: str) -> None:
        if (found := self.next()) != token:
            raise _unparsable(f"found '{found}', expected: '{token}'")

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token


class FieldRequirement(NamedTuple):
    """A field's path must, or must not, have this value."""

    path: tuple[str, ...]
    value: str
    equal: bool = True

    def matches(self, value: JSON) -> bool:
        """Whether the object fulfils it. An absent field is "", and false."""
        found: Any = value
        for name in self.path:
            found = found.get(name) if isinstance(found, dict) else None
        absent = found is None or found is False or found == ""
        same = self.value in {"", "false"} if absent else self.value == _text(found)
        return same == self.equal


class FieldSelector(NamedTuple):
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, value: JSON) -> bool:
        """Whether the whole object, as JSON, is selected."""
        return all(requirement.matches(value) for requirement in self.requirements)


def parse_fields(text: str) -> FieldSelector:
    """`metadata.name=a,status.phase!=Running` as a selector; a backslash escapes `,`, `=` and itself in a value."""
    terms = re.findall(r"(?:[^,\\]|\\.|\\$)+", text)
    if len(terms) > MAX_TERMS:
        raise InvalidError(f"invalid field selector: more than {MAX_TERMS} terms")
    return FieldSelector(tuple(_field_requirement(term) for term in terms))


def _field_requirement(term: str) -> FieldRequirement:
    match = re.fullmatch(
        r"\s*([A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*)(!=|==|=)((?:[^=\\]|\\[\\,=])*)", term, re.DOTALL
    )
    if match is None:
        raise InvalidError(f'invalid selector: "{term[:128]}"; can\'t understand it: a term is path=value or path!=value')
    value = re.sub(r"\\(.)", r"\1", match[3])
    return FieldRequirement(tuple(match[1].split(".")), value, match[2] != "!=")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unparsable(why: str) -> InvalidError:
    return InvalidError(f"unable to parse requirement: {why}")
