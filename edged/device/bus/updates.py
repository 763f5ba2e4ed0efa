"""What updates of one device's twin do: the Device's new body, what is told of its values, what each is answered. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from edged.device.bus.payloads import BAD_REQUEST, NOT_FOUND, Failure, Update, View
from edged.device.external import CLOUD_VERSION, EDGE_VERSION, Told, next_version, versions
from edged.device.mapper import Sample
from edged.device.wiring import Wired, Wiring
from edged.errors import InvalidError
from edged.model.devices import Device
from edged.model.meta import JSON
from edged.model.objects import Object, dump

Wire = Callable[[Device], Wiring]
Check = Callable[[Mapping[str, Told]], dict[str, Sample]]  # what told values mean; InvalidError: why they are not taken
Outcome = dict[str, View | None] | Failure


class Plan(NamedTuple):
    """What to write (`body` None: the Device stays as it is), which values to take in, and how each update is answered."""

    body: bytes | None
    told: list[dict[str, Sample]]
    outcomes: list[Outcome]


def told_only(check: Check, wired: Mapping[str, Wired], updates: Sequence[Update], now_ms: int) -> Plan:
    """The plan for updates that say only what is: they are most, and leave the Device as it is."""
    told: list[dict[str, Sample]] = []
    outcomes: list[Outcome] = []
    for update in updates:
        meant = _meant(check, update)
        if isinstance(meant, Failure):
            outcomes.append(meant)
        else:
            told.append(meant)
            outcomes.append(_outcome(update, wired, now_ms))
    return Plan(None, told, outcomes)


def plan(stored: Object, device: Device, wire: Wire, check: Check, updates: Sequence[Update], now_ms: int) -> Plan:
    """The plan for `updates`, in their order. `wire` gives the wiring of a Device as it would be.

    An update that is wrong in one property is refused whole.
    """
    body: JSON = msgspec.json.decode(stored.body)
    wired = {each.name: each for each in wire(device).properties}
    told: list[dict[str, Sample]] = []
    outcomes: list[Outcome] = []
    changed = False
    for update in updates:
        candidate = _desiring(body, wired, update, now_ms) if update.expected else body
        meant = _refusal(candidate, wire, wired, update) or _meant(check, update)
        if isinstance(meant, Failure):
            outcomes.append(meant)
            continue
        body, changed = candidate, changed or bool(update.expected)
        told += [meant] if meant else []
        outcomes.append(_outcome(update, wired, now_ms))
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


def _meant(check: Check, update: Update) -> dict[str, Sample] | Failure:
    try:
        return check(update.actual) if update.actual else {}
    except InvalidError as error:
        return Failure(BAD_REQUEST, str(error))


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
