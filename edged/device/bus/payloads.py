"""What is said on KubeEdge's device topics, in JSON: parsers of what comes in, builders of what goes out. Pure.

Names and numbers are those of KubeEdge 1.23 (edge/pkg/devicetwin/dttype, dtcommon): a value is text, times are milliseconds
since 1970, an answer carries the `event_id` of its question, or `code` and `reason` when it failed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from edged.device.alarms import Turn
from edged.device.external import Told, versions
from edged.device.readings import Reading
from edged.errors import ProtocolError
from edged.model.devices import Device, DeviceProperty, Twin, TwinValue
from edged.model.values import MAX_TEXT, to_text

MAX_PAYLOAD = 256 << 10  # bytes: MAX_TWINS values of full length
MAX_TWINS = 256  # properties in one message
MAX_ID = 256  # characters of an event_id, which is sent back
BAD_REQUEST, NOT_FOUND, CONFLICT, INTERNAL = 400, 404, 409, 500  # dtcommon's, and HTTP's
NOW_MS = 1 << 53  # no later time is believed to be one
_KEY = re.compile(r"[A-Za-z0-9_.,:/@#-]{1,128}", re.ASCII)  # dtcommon.ValidateTwinKey
_LAST_ONLINE = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)Z")
STATES = ("online", "offline", "unknown")

View = dict[str, Any]  # the twin of one property, as KubeEdge's MsgTwin


class _ValueMetadata(msgspec.Struct, frozen=True):
    timestamp: int = 0


class _Value(msgspec.Struct, frozen=True):
    value: str | None = None
    metadata: _ValueMetadata | None = None


class Version(msgspec.Struct, frozen=True):
    """How often the cloud, and the edge, wrote a value."""

    cloud: int = 0
    edge: int = 0


class _Twin(msgspec.Struct, frozen=True):
    expected: _Value | None = None
    actual: _Value | None = None
    expected_version: Version | None = None
    actual_version: Version | None = None


class _Question(msgspec.Struct, frozen=True):
    event_id: str = ""


class _TwinUpdate(msgspec.Struct, frozen=True):
    twin: dict[str, _Twin | None]
    event_id: str = ""


class _State(msgspec.Struct, frozen=True):
    state: str
    event_id: str = ""


class _DataValue(msgspec.Struct, frozen=True):
    value: str
    metadata: _ValueMetadata = _ValueMetadata()


class _Data(msgspec.Struct, frozen=True):
    data: dict[str, _DataValue]


class Update(NamedTuple):
    """A `/twin/update`: what some properties should be (None: whatever they are), and what some are.

    `versions` are those of a `/twin/cloud_updated`, by property.
    """

    event_id: str
    expected: Mapping[str, str | None]
    actual: Mapping[str, Told]
    versions: Mapping[str, Version] = {}


class Question(NamedTuple):
    """Anything that asks for an answer."""

    event_id: str


class Failure(NamedTuple):
    """Why something was not done."""

    code: int
    reason: str


def parse_update(payload: bytes) -> Update:
    """What `/twin/update` and `/twin/cloud_updated` carry. ProtocolError says what is wrong."""
    message = _parse(payload, _TwinUpdate, "twin")
    _check_keys(message.twin)
    expected: dict[str, str | None] = {}
    actual: dict[str, Told] = {}
    found: dict[str, Version] = {}
    for name, twin in message.twin.items():
        if twin is None:
            expected[name] = None
            continue
        if twin.expected is not None and twin.expected.value is not None:
            expected[name] = _text(name, twin.expected.value)
        if twin.actual is not None and twin.actual.value is not None:
            actual[name] = _told(name, twin.actual.value, twin.actual.metadata)
        if twin.expected_version is not None:
            found[name] = twin.expected_version
    return Update(_id(message.event_id), expected, actual, found)


def parse_question(payload: bytes) -> Question:
    """What the `get` topics carry. ProtocolError says what is wrong."""
    return Question(_id(_parse(payload, _Question, "").event_id))


def parse_state(payload: bytes) -> tuple[str, str]:
    """(event_id, state) of a `/state/update`. ProtocolError says what is wrong."""
    message = _parse(payload, _State, "state")
    if message.state not in STATES:
        raise ProtocolError(f'state: expected one of {", ".join(STATES)}, got "{message.state[:MAX_ID]}"')
    return _id(message.event_id), message.state


def parse_data(payload: bytes) -> Mapping[str, Told]:
    """What a mapper says on `/data/update`: its readings, as `data` or as the `actual` values of a `twin`. ProtocolError."""
    if b'"twin"' in payload:
        return parse_update(payload).actual
    message = _parse(payload, _Data, "data")
    _check_keys(message.data)
    return {name: _told(name, each.value, each.metadata) for name, each in message.data.items()}


def _parse(payload: bytes, kind: Any, key: str) -> Any:
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolError(f"{len(payload)} bytes; at most {MAX_PAYLOAD} are taken")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (ValueError, RecursionError) as error:
        needs = f' with the key "{key}"' if key else ""
        raise ProtocolError(f"expected JSON{needs}: {error}") from error


def _check_keys(found: Mapping[str, object]) -> None:
    if len(found) > MAX_TWINS:
        raise ProtocolError(f"{len(found)} properties; at most {MAX_TWINS} are taken")
    for name in found:
        if not _KEY.fullmatch(name):
            raise ProtocolError(
                f'"{name[:MAX_ID]}": expected 1 to 128 letters, digits and - _ . , : / @ # as the name of a twin'
            )


def _text(name: str, value: str) -> str:
    if len(value) > MAX_TEXT:
        raise ProtocolError(f"{name}: a value of {len(value)} characters; at most {MAX_TEXT} are taken")
    return value


def _told(name: str, value: str, metadata: _ValueMetadata | None) -> Told:
    time = 0 if metadata is None else metadata.timestamp
    return Told(_text(name, value), time if 0 < time < NOW_MS else None)


def _id(event_id: str) -> str:
    if len(event_id) > MAX_ID:
        raise ProtocolError(f"an event_id of {len(event_id)} characters; at most {MAX_ID} are taken")
    return event_id


# What goes out


def result(event_id: str, now_ms: int, twin: Mapping[str, View | None]) -> bytes:
    """`/twin/update/result` and `/twin/get/result`."""
    return _dump({"event_id": event_id, "timestamp": now_ms, "twin": twin})


def failed(event_id: str, now_ms: int, failure: Failure) -> bytes:
    """Any result of what was not done."""
    return _dump({"event_id": event_id, "timestamp": now_ms, "code": failure.code, "reason": failure.reason})


def document(event_id: str, now_ms: int, before: Mapping[str, View], after: Mapping[str, View]) -> bytes:
    """`/twin/update/document`: the properties that changed, as they were and as they are."""
    names = [name for name in [*after, *(each for each in before if each not in after)] if before.get(name) != after.get(name)]
    twin = {
        name: {"last": _without_versions(before.get(name)), "current": _without_versions(after.get(name))} for name in names
    }
    return _dump({"event_id": event_id, "timestamp": now_ms, "twin": twin})


def delta(event_id: str, now_ms: int, views: Mapping[str, View]) -> bytes | None:
    """`/twin/update/delta`: what properties should be and are not; None when there is nothing of that."""
    wanted = {name: view for name, view in views.items() if "expected" in view}
    lacking = {
        name: view["expected"]["value"] for name, view in wanted.items() if _value(view, "actual") != _value(view, "expected")
    }
    if not lacking:
        return None
    twin = {name: _without_versions(view) for name, view in wanted.items()}
    return _dump({"event_id": event_id, "timestamp": now_ms, "twin": twin, "delta": lacking})


def edge_updated(event_id: str, now_ms: int, before: Mapping[str, View], after: Mapping[str, View]) -> bytes:
    """`/twin/edge_updated`: the properties that changed, with their versions."""
    changed = {name: view for name, view in after.items() if before.get(name) != view}
    return _dump({"event_id": event_id, "timestamp": now_ms, "twin": changed})


def data_update(event_id: str, now_ms: int, readings: Sequence[Reading]) -> bytes:
    """`/data/update`: readings, the newest of each property."""
    data = {each.property: {"value": each.value, "metadata": {"timestamp": each.time, "type": each.type}} for each in readings}
    return _dump({"event_id": event_id, "timestamp": now_ms, "data": data})


def alarm(event_id: str, now_ms: int, of: str, turn: Turn) -> bytes:
    """`/alarm`: that of a property was raised, or cleared. Ours: KubeEdge has none."""
    limit = turn.limit
    what = {
        "property": of,
        "name": limit.name,
        "severity": limit.severity,
        "state": "raised" if turn.on else "cleared",
        "value": to_text(turn.measured),
        limit.kind: to_text(limit.limit),
        "message": f"{of} {turn.words}",
    }
    return _dump({"event_id": event_id, "timestamp": now_ms, "alarm": what})


def state_result(event_id: str, now_ms: int, device: Device) -> bytes:
    """`/state/update/result` and `/state/get/result`."""
    return _dump({"event_id": event_id, "timestamp": now_ms, "device": _summary(device)})


def attributes_updated(event_id: str, now_ms: int, device: Device) -> bytes:
    """`/updated`: the attributes of a device, which are its labels."""
    return _dump({"event_id": event_id, "timestamp": now_ms, "attributes": _attributes(device)})


def membership(event_id: str, now_ms: int, devices: Sequence[Device], *, twins: bool = False) -> bytes:
    """`/membership/get/result`; with their twins, `/membership/detail/result`."""
    return _dump({"event_id": event_id, "timestamp": now_ms, "devices": [_member(each, twins=twins) for each in devices]})


def membership_updated(event_id: str, now_ms: int, added: Sequence[Device], removed: Sequence[Device]) -> bytes:
    """`/membership/updated`: the devices that this node serves from now on, and those that it serves no more."""
    members = {"added_devices": [_member(each, twins=True) for each in added]}
    members["removed_devices"] = [_member(each, twins=False) for each in removed]
    return _dump({"event_id": event_id, "timestamp": now_ms, **members})


def connected(now_ms: int, event_type: str) -> bytes:
    """`$hw/events/connected/NODE` and `disconnected`."""
    return _dump({"event_type": event_type, "timestamp": now_ms})


def views(device: Device) -> dict[str, View]:
    """The twin of a device: its properties with what they should be and are, and the versions of that.

    Those that the Device does not list, which its model places or computes, follow once they have a value.
    """
    status = {twin.property_name: twin for twin in device.status.twins}
    listed = {each.name for each in device.spec.properties}
    others = [DeviceProperty(name) for name in status if name not in listed]
    found = {}
    for each in (*device.spec.properties, *others):
        twin = status.get(each.name, Twin(each.name))
        view: View = {}
        if each.desired.value:
            view |= {"expected": _told_view(each.desired), "expected_version": _version(each.desired)}
        if twin.reported.metadata:
            view |= {"actual": _told_view(twin.reported), "actual_version": _version(twin.reported)}
        kind = twin.reported.metadata.get("type") or each.desired.metadata.get("type") or "string"
        found[each.name] = view | {"optional": True, "metadata": {"type": kind}}
    return found


def shown(found: Mapping[str, View]) -> dict[str, View | None]:
    """Views without their versions, as results have them."""
    return {name: _without_versions(view) for name, view in found.items()}


def _without_versions(view: View | None) -> View | None:
    return None if view is None else {name: part for name, part in view.items() if not name.endswith("_version")}


def _value(view: View, part: str) -> str:
    return str(view.get(part, {}).get("value", ""))


def _told_view(value: TwinValue) -> View:
    time = value.metadata.get("timestamp", "")
    metadata = {"metadata": {"timestamp": int(time)}} if time.isascii() and time.isdigit() and len(time) < 19 else {}
    return {"value": value.value, **metadata}


def _version(value: TwinValue) -> dict[str, int]:
    cloud, edge = versions(value.metadata)
    return {"cloud": cloud, "edge": edge}


def _summary(device: Device) -> View:
    stamp = _LAST_ONLINE.fullmatch(device.status.last_online_time)
    last = {"last_online": f"{stamp[1]} {stamp[2]}"} if stamp else {}
    return {"name": device.metadata.name, "state": device.status.state or "unknown", **last}


def _member(device: Device, *, twins: bool) -> View:
    member = {
        "id": f"{device.metadata.namespace}/{device.metadata.name}",
        **_summary(device),
        "attributes": _attributes(device),
    }
    return member | {"twin": shown(views(device))} if twins else member


def _attributes(device: Device) -> View:
    return {
        name: {"value": value, "optional": True, "metadata": {"type": "string"}}
        for name, value in device.metadata.labels.items()
    }


def _dump(value: View) -> bytes:
    return msgspec.json.encode(value)
