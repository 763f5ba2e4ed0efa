"""Paths of the resource API taken apart, as Kubernetes' RequestInfo does (`/api/v1/...`, `/apis/GROUP/VERSION/...`)."""

from typing import NamedTuple
from urllib.parse import unquote

from edged.model.kinds import SPOKEN, Row

_ROWS = {(row.group, row.version, row.plural): row for row in SPOKEN}
_NAMESPACES = _ROWS["", "v1", "namespaces"]


PREFIX = "/groups/"  # before a path: of a group that this node observes


class Route(NamedTuple):
    """Which objects a path names: all of a kind (`name` ""), in one namespace or all (""), or one, or a subresource of it."""

    row: Row
    namespace: str
    name: str
    subresource: str


def parted(path: str) -> tuple[str, str]:
    """The group that a path is about, "" for this node's own, and the rest of it."""
    if not path.startswith(PREFIX):
        return "", path
    group, _, rest = path.removeprefix(PREFIX).partition("/")
    return group, f"/{rest}"


def route(path: str) -> Route | None:
    """The route of a path; None when it leads to no kind that is known here."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            if not group:
                return None
        case _:
            return None
    match rest:
        case ["namespaces", namespace, plural, *rest] if (group, version, plural) in _ROWS:
            row = _ROWS[group, version, plural]
            return _within(row, namespace, rest) if row.namespaced and namespace else None
        case ["namespaces", *rest] if (group, version) == ("", "v1"):
            return _within(_NAMESPACES, "", rest)
        case [plural, *rest] if (group, version, plural) in _ROWS:
            row = _ROWS[group, version, plural]
            if row.namespaced:
                return None if rest else Route(row, "", "", "")
            return _within(row, "", rest)
    return None


def _within(row: Row, namespace: str, rest: list[str]) -> Route | None:
    match rest:
        case []:
            return Route(row, namespace, "", "")
        case [name] if name:
            return Route(row, namespace, name, "")
        case [name, subresource] if name and subresource:
            return Route(row, namespace, name, subresource)
    return None
