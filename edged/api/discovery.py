"""What this API has, as clients ask for it: versions, groups and their resources (`/api`, `/apis`, `/api/v1`, ...)."""

import platform

from edged import __version__
from edged.model.devices import Device
from edged.model.kinds import SPOKEN, Row
from edged.model.meta import JSON

MAJOR, MINOR = "1", "32"  # of the Kubernetes API that this one follows: kubectl chooses its ways by it
GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}  # of processors, as clients compare them
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
MADE_VERBS = ["delete", "deletecollection", "get", "list", "watch"]  # of objects that edged alone writes
SHOWN_VERBS = ["get", "list", "watch"]  # of views of other objects
SCALED = "deployments.apps"


def version() -> JSON:
    """`/version`."""
    return {
        "major": MAJOR,
        "minor": MINOR,
        "gitVersion": f"v{MAJOR}.{MINOR}.0+edged-{__version__}",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{GO_NAMES.get(platform.machine(), platform.machine())}",
    }


def discovery(path: str) -> JSON | None:
    """The answer for a discovery path, or None when it is none."""
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _groups()]}
        case ["api", "v1"]:
            return _resources("v1")
        case ["apis", group] if group in _groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        case ["apis", group, number] if any((row.group, row.version) == (group, number) for row in SPOKEN):
            return _resources(f"{group}/{number}")
    return None


def _groups() -> list[str]:
    return sorted({row.group for row in SPOKEN if row.group})


def _group(name: str) -> JSON:
    numbers = sorted({row.version for row in SPOKEN if row.group == name})
    versions = [{"groupVersion": f"{name}/{number}", "version": number} for number in numbers]
    return {"name": name, "versions": versions, "preferredVersion": versions[-1]}


def _resources(api_version: str) -> JSON:
    rows = [row for row in SPOKEN if row.api_version == api_version]
    resources = [resource for row in rows for resource in _row(row)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}


def _row(row: Row) -> list[JSON]:
    whole: JSON = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": SHOWN_VERBS if row.shows else MADE_VERBS if row.made else VERBS,
    }
    if row.short:
        whole["shortNames"] = list(row.short)
    if row.categories:
        whole["categories"] = list(row.categories)
    found = [whole]
    if row.status:
        found.append(_subresource(row, "status", row.kind, ["get"] if row.made else ["get", "patch", "update"]))
    if row.resource == SCALED:
        scale = _subresource(row, "scale", "Scale", ["get", "patch", "update"])
        found.append({**scale, "group": "autoscaling", "version": "v1"})
    if row.acts is Device:
        found.append(_subresource(row, "call", row.kind, ["create"]))
        found.append(_subresource(row, "history", row.kind, ["get"]))
    if row.resource == "pods":
        found.append(_subresource(row, "log", row.kind, ["get"]))
    return found


def _subresource(row: Row, name: str, kind: str, verbs: list[str]) -> JSON:
    return {"name": f"{row.plural}/{name}", "singularName": "", "namespaced": row.namespaced, "kind": kind, "verbs": verbs}
