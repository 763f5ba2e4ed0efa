"""Names: what they may look like, in Kubernetes' words (apimachinery, `util/validation`).

Each function answers None for a good name, else the text that says what is wrong with it.
"""

import re
from collections.abc import Mapping

LABEL_MAX = 63
SUBDOMAIN_MAX = 253
PREFIX_MAX = 253
PORT_NAME_MAX = 15
CONFIG_KEY_MAX = 253
ANNOTATIONS_MAX = 256 * 1024  # bytes of all keys and values together

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_CONFIG_KEY_TEXT = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_ENV_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"

EMPTY = "must be non-empty"


def label(name: str) -> str | None:
    """A DNS-1123 label: namespaces, containers."""
    return _name(name, LABEL_MAX, _LABEL, _LABEL_TEXT, "my-name", "123-abc")


def subdomain(name: str) -> str | None:
    """A DNS-1123 subdomain: most objects."""
    return _name(name, SUBDOMAIN_MAX, _SUBDOMAIN, _SUBDOMAIN_TEXT, "example.com")


def label_1035(name: str) -> str | None:
    """A DNS-1035 label: services."""
    return _name(name, LABEL_MAX, _LABEL_1035, _LABEL_1035_TEXT, "my-name", "abc-123")


def qualified(name: str) -> str | None:
    """A label's or annotation's key: `name` or `prefix/name`."""
    prefix, slash, part = name.rpartition("/")
    if slash and not prefix:
        return f"prefix part {EMPTY}"
    if slash and (wrong := _name(prefix, PREFIX_MAX, _SUBDOMAIN, _SUBDOMAIN_TEXT, "example.com")):
        return f"prefix part {wrong}"
    if not part:
        return f"name part {EMPTY}"
    wrong = _name(part, LABEL_MAX, _QUALIFIED, _QUALIFIED_TEXT, "MyName", "my.name", "123-abc")
    return f"name part {wrong}" if wrong else None


def label_value(value: str) -> str | None:
    """A label's value; it may be empty."""
    return _name(value, LABEL_MAX, _LABEL_VALUE, _LABEL_VALUE_TEXT, "MyValue", "my_value", "12345")


def annotations_size(annotations: Mapping[str, str]) -> int:
    """Bytes that count against ANNOTATIONS_MAX."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())


def env_name(name: str) -> str | None:
    """An environment variable's name."""
    if not name:
        return f"environment variable name {EMPTY}"
    return None if all(" " <= char <= "~" and char != "=" for char in name) else _ENV_TEXT


def port_name(name: str) -> str | None:
    """A container port's name: an IANA service name (RFC 6335, section 5.1)."""
    if len(name) > PORT_NAME_MAX:
        return _too_long(PORT_NAME_MAX)
    if not re.fullmatch("[-a-z0-9]+", name):
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", name):
        return "must contain at least one letter (a-z)"
    if "--" in name:
        return "must not contain consecutive hyphens"
    if name.startswith("-") or name.endswith("-"):
        return "must not begin or end with a hyphen"
    return None


def config_key(key: str) -> str | None:
    """A key of a ConfigMap, which may become a file's name."""
    if wrong := _name(key, CONFIG_KEY_MAX, _CONFIG_KEY, _CONFIG_KEY_TEXT, "key.name", "KEY_NAME", "key-name"):
        return wrong
    if key in {".", ".."}:
        return f"must not be '{key}'"
    return "must not start with '..'" if key.startswith("..") else None


def _name(name: str, longest: int, regex: str, text: str, *examples: str) -> str | None:
    if len(name) > longest:
        return _too_long(longest)
    if re.fullmatch(regex, name):
        return None
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{regex}')"


def _too_long(longest: int) -> str:
    return f"must be no more than {longest} characters"
