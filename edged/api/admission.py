"""From what a client sends to what is stored: checked, defaulted, with the metadata that only the API writes."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from edged.api.allocation import SERVICES, keep
from edged.api.exchange import number
from edged.api.routes import Route
from edged.api.status import StatusError, conflict, invalid, invalid_option
from edged.errors import Cause
from edged.model import causes, defaults, schema, validate
from edged.model.devices import Device
from edged.model.kinds import Row
from edged.model.meta import JSON, Kind
from edged.model.objects import Object, split, typed, whole
from edged.model.times import format_time

MAX_OBJECT = 1_000_000  # bytes of an object's body or status: it must fit into one frame between nodes (1 MiB)
MAX_WARNINGS = 16  # Warning headers of one answer: more would outgrow what clients take as headers
MAX_WARNING = 256  # characters of one warning
GENERATED = 5  # random characters behind a generateName
MAX_GENERATE_NAME = 58  # characters of generateName that are kept: with the random ones a DNS label
STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
_OURS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_DROPPED = ("managedFields", "selfLink")


class Admitted(NamedTuple):
    """A whole object as it is to be stored, and what its writer should know."""

    value: JSON
    warnings: list[str]


def field_validation(asked: str) -> str:
    """The policy for unknown fields: Warn unless the client asks otherwise."""
    if asked not in ("", STRICT, WARN, IGNORE):
        raise invalid_option(causes.unsupported("fieldValidation", asked, (IGNORE, WARN, STRICT)))
    return asked or WARN


def admit_new(route: Route, value: JSON, policy: str, uid: str, now: float) -> Admitted:
    """A new object. StatusError when it is not what its kind asks for."""
    row = route.row
    _check_identity(route, value, "")
    metadata: JSON = value["metadata"]
    if metadata.get("resourceVersion"):
        raise StatusError(400, "resourceVersion should not be set on objects to be created")
    admitted = _admit(row, value, policy, str(metadata.get("name") or metadata.get("generateName") or ""))
    value, metadata = admitted.value, admitted.value["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        random = uid.replace("-", "")[:GENERATED]
        metadata["name"] = metadata["generateName"][:MAX_GENERATE_NAME] + random
    if row.namespaced:
        metadata["namespace"] = route.namespace
    _take_over(metadata, {"uid": uid, "creationTimestamp": format_time(now)})
    if "spec" in value:
        metadata["generation"] = 1
    value.pop("status", None)
    parsed = _parsed(row, value)
    _refuse(row, parsed.metadata.name, validate.validate(parsed, row))
    return _sized(admitted)


def admit_changed(route: Route, old: Object, value: JSON, policy: str) -> Admitted:
    """The next state of an object: all but its status and what only the API writes is the client's."""
    row, before = route.row, whole(old)
    _check_identity(route, value, route.name)
    _check_uid(route, old, value)
    admitted = _admit(row, value, policy, route.name)
    value, metadata = admitted.value, admitted.value["metadata"]
    if row.namespaced:
        metadata["namespace"] = route.namespace
    _take_over(metadata, before["metadata"])
    if row.resource == SERVICES:
        keep(value, before)
    if row.acts is Device:
        _keep_node(value, before)
    value.pop("status", None)
    status = before.pop("status", None)
    if value.get("spec") != before.get("spec"):
        metadata["generation"] = before["metadata"].get("generation", 0) + 1
    parsed, was = _parsed(row, value), typed(old, row.acts)
    _refuse(row, route.name, [*validate.validate(parsed, row), *validate.validate_update(parsed, was, row)])
    if status is not None:
        value["status"] = status
    only_metadata = {**value, "metadata": {}, "status": {}} == {**before, "metadata": {}, "status": {}}
    return _sized(Admitted(value, [] if only_metadata else admitted.warnings))


def admit_status(route: Route, old: Object, value: JSON, policy: str) -> Admitted:
    """The next status of an object: everything else of what the client sends is ignored."""
    _check_identity(route, value, route.name)
    _check_uid(route, old, value)
    changed = {**whole(old), "status": value.get("status")}
    if changed["status"] is None:
        del changed["status"]
    admitted = _admit(route.row, changed, policy, route.name)
    _parsed(route.row, admitted.value)
    return _sized(Admitted(admitted.value, []))


def expected_rv(value: JSON) -> int | None:
    """The resourceVersion that a writer has seen, None when it does not care."""
    metadata = value.get("metadata")
    text = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not text:
        return None
    version = number(text)
    if version is None:
        raise StatusError(400, f"metadata.resourceVersion: {causes.invalid('', text, 'must be a number').message}")
    return version


def warning_headers(warnings: Sequence[str]) -> list[tuple[str, str]]:
    """Warnings as HTTP headers (RFC 7234, section 5.5: code 299), in visible ASCII."""
    shown = list(warnings[:MAX_WARNINGS])
    if len(warnings) > MAX_WARNINGS:
        shown[-1] = f"and {len(warnings) - MAX_WARNINGS + 1} more warnings"
    return [("Warning", f'299 - "{_quoted(text[:MAX_WARNING])}"') for text in shown]


def _quoted(text: str) -> str:
    ascii_only = text.encode("ascii", "backslashreplace").decode("ascii").replace("\\", "\\\\").replace('"', '\\"')
    return "".join(char if char.isprintable() else "?" for char in ascii_only)


def _admit(row: Row, value: JSON, policy: str, name: str) -> Admitted:
    """Types checked, unknown fields told, defaults filled in."""
    for field in _DROPPED:
        value["metadata"].pop(field, None)
    checked = schema.check(value, row)
    _refuse(row, name, checked.errors)
    unknown = [f'unknown field "{path}"' for path in checked.unknown]
    if unknown and policy == STRICT:
        text = ", ".join(unknown[:MAX_WARNINGS])
        what = f'{row.kind} in version "{row.version}" cannot be handled as a {row.kind}'
        raise StatusError(400, f"{what}: strict decoding error: {text}")
    warnings = [] if policy == IGNORE else unknown
    warnings += [f"{path} is kept, edged does not act on it yet" for path in checked.unacted]
    return Admitted(defaults.default(checked.value, row), warnings)


def _check_identity(route: Route, value: JSON, name: str) -> None:
    """The body is about what the URL says."""
    row = route.row
    for field, expected in (("apiVersion", row.api_version), ("kind", row.kind)):
        found = value.setdefault(field, expected)
        if found != expected:
            said = causes.shown(found)
            raise StatusError(400, f"the {field} in the data ({said}) does not match the expected {field} ({expected})")
    if value.get("metadata") is None:
        value["metadata"] = {}
    metadata = value["metadata"]
    if not isinstance(metadata, dict):
        raise invalid(row, name, [causes.mistyped("metadata", metadata, "object")])
    if name and metadata.setdefault("name", name) != name:
        said = causes.shown(metadata["name"])
        raise StatusError(400, f"the name of the object ({said}) does not match the name on the URL ({name})")
    if row.namespaced and metadata.get("namespace") not in (None, "", route.namespace):
        said = causes.shown(metadata["namespace"])
        expected = f"the namespace sent on the request ({route.namespace})"
        raise StatusError(400, f"the namespace of the provided object ({said}) does not match {expected}")


def _check_uid(route: Route, old: Object, value: JSON) -> None:
    uid = value["metadata"].get("uid")
    if uid and uid != old.uid:
        why = f"Precondition failed: UID in precondition: {causes.shown(uid)}, UID in object meta: {old.uid}"
        raise conflict(route.row, route.name, why)


def _take_over(metadata: JSON, ours: JSON) -> None:
    """Put in what only the API writes, and nothing that a client made up for it."""
    metadata.pop("resourceVersion", None)
    for field in _OURS:
        metadata.pop(field, None)
        if ours.get(field) is not None:
            metadata[field] = ours[field]


def _keep_node(value: JSON, before: JSON) -> None:
    """A device that control bound stays bound when a manifest without a nodeName takes its place, while its selector stays."""
    spec, was = value.get("spec", {}), before.get("spec", {})
    selector = spec.get("nodeSelector")
    if selector and selector == was.get("nodeSelector") and not spec.get("nodeName") and was.get("nodeName"):
        spec["nodeName"] = was["nodeName"]


def _parsed(row: Row, value: JSON) -> Kind:
    try:
        return msgspec.convert(value, row.acts)
    except (msgspec.ValidationError, ValueError) as error:
        raise invalid(row, str(value["metadata"].get("name", "")), [Cause("", "FieldValueInvalid", str(error))]) from error


def _refuse(row: Row, name: str, wrong: Sequence[Cause]) -> None:
    if wrong:
        raise invalid(row, name, wrong)


def _sized(admitted: Admitted) -> Admitted:
    body, status = split(admitted.value)
    if max(len(body), len(status or b"")) > MAX_OBJECT:
        raise StatusError(413, f"the object is {len(body)} bytes, at most {MAX_OBJECT} are stored")
    return admitted
