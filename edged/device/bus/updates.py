"""What updates of one device's twin do: the Device's new body, what is told of its values, what each is answered. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from edged.device.bus.payloads import BAD_REQUEST, NOT_FOUND, Failure, Update, View
from edged.device.external import CLOUD_VERSION, EDGE_VERSION, ExternalTwin, Told, next_version, versions
from edged.device.wiring import Wired, Wiring
from edged.errors import InvalidError
from edged.model.devices import Device
from edged.model.meta import JSON
from edged.model.objects import Object, dump

Wire = Callable[[Device], Wiring]
Outcome = dict[str, View | None] | Failure


class Plan(NamedTuple):
    """What to write (`body` None: the Device stays as it is), which values to take in, and how each update is answered."""

    body: bytes | None
    told: list[Mapping[str, Told]]
    outcomes: list[Outcome]


def told_only(twin: ExternalTwin, updates: Sequence[Update], now_ms: int) -> Plan:
    """The plan for updates that say only what is: they are most, and leave the Device as it is."""
    told: list[Mapping[str, Told]] = []
    outcomes: list[Outcome] = []
    for update in updates:
        failure = _untold(twin, update)
        if failure is None:
            told.append(update.actual)
        outcomes.append(failure or _outcome(update, twin.wired, now_ms))
    return Plan(None, told, outcomes)


def plan(stored: Object, device: Device, wire: Wire, twin: ExternalTwin | str, updates: Sequence[Update], now_ms: int) -> Plan:
    """The plan for `updates`, in their order. `wire` gives the wiring of a Device as it would be.

    `twin` takes in values that are told; or says why none are. An update that is wrong in one property is refused whole.
    """
    body: JSON = msgspec.json.decode(stored.body)
    wired = {each.name: each for each in wire(device).properties}
    told: list[Mapping[str, Told]] = []
    outcomes: list[Outcome] = []
    changed = False
    for update in updates:
        candidate = _desiring(body, wired, update, now_ms) if update.expected else body
        failure = _refusal(candidate, wire, wired, update) or _untold(twin, update)
        if failure is None:
            body, changed = candidate, changed or bool(update.expected)
            told += [update.actual] if update.actual else []
        outcomes.append(failure or _outcome(update, wired, now_ms))
    return Plan(dump(body) if changed else None, told, outcomes)


def newer(device: Device, update: Update) -> tuple[Update, list[str]]:
    """Of a `/twin/cloud_updated` what is not older than what is here; and the properties of which it is, or has no version."""
    here = {each.name: versions(each.desired.metadata) for each in device.spec.properties}
    taken: dict[str, str | None] = {}
    for name, text in update.expected.items():
        told, known = update.versions.get(name), here.get(name, (0, 0))
        if told is not None and known[0] <= told.cloud and known[1] <= told.edge:
            taken[name] = text
    return update._replace(expected=taken, actual={}), [name for name in update.expected if name not in taken]


def _untold(twin: ExternalTwin | str, update: Update) -> Failure | None:
    if not update.actual:
        return None
    if isinstance(twin, str):
        return Failure(BAD_REQUEST, twin)
    try:
        twin.check(update.actual)
    except InvalidError as error:
        return Failure(BAD_REQUEST, str(error))
    return None


def _desiring(body: JSON, wired: Mapping[str, Wired], update: Update, now_ms: int) -> JSON:
    """The body with what the properties should be."""
    before = body.get("spec", {})
    properties = [_desired(each, wired, update, now_ms) for each in before.get("properties", [])]
    return {**body, "spec": {**before, "properties": properties}}


def _desired(each: JSON, wired: Mapping[str, Wired], update: Update, now_ms: int) -> JSON:
    name = each.get("name", "")
    if name not in update.expected or name not in wired:
        return each
    rest = {key: part for key, part in each.items() if key != "desired"}
    if not (text := update.expected[name]):
        return rest
    metadata = {"timestamp": str(now_ms), "type": wired[name].type.lower()}
    metadata |= _version(each.get("desired", {}).get("metadata", {}), update, name)
    return {**rest, "desired": {"value": text, "metadata": metadata}}


def _version(before: Any, update: Update, name: str) -> dict[str, str]:
    if (told := update.versions.get(name)) is not None:
        return {CLOUD_VERSION: str(told.cloud), EDGE_VERSION: str(told.edge)}
    return next_version(before)


def _refusal(body: JSON, wire: Wire, wired: Mapping[str, Wired], update: Update) -> Failure | None:
    """Why the properties cannot be what they should be."""
    if not update.expected:
        return None
    for name in update.expected:
        if name not in wired:
            return Failure(NOT_FOUND, f'the device has no property "{name}"')
    after = {each.name: each for each in wire(msgspec.convert(body, Device)).properties}
    refusals = [f"{name}: {after[name].refusal}" for name in update.expected if after[name].refusal]
    return Failure(BAD_REQUEST, "; ".join(refusals)) if refusals else None


def _outcome(update: Update, wired: Mapping[str, Wired], now_ms: int) -> dict[str, View | None]:
    """The part of the twin that was updated."""
    found: dict[str, View | None] = {}
    for name, text in update.expected.items():
        found[name] = {"expected": {"value": text, "metadata": {"timestamp": now_ms}}} if text else None
    for name, told in update.actual.items():
        time = now_ms if told.time is None else told.time
        found[name] = (found.get(name) or {}) | {"actual": {"value": told.value, "metadata": {"timestamp": time}}}
    for name, view in found.items():
        if view is not None:
            view |= {"optional": True, "metadata": {"type": wired[name].type.lower()}}
    return found
