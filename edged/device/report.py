"""The status of a device: its state, its conditions, its twins; and when two of them say the same."""

import datetime
from collections.abc import Sequence
from typing import NamedTuple

from edged.device.alarms import Alarm
from edged.model.devices import DeviceStatus, TwinValue
from edged.model.meta import Condition

UNTRIED, ANSWERS, AWAY, GARBLED = "untried", "answers", "away", "garbled"
MAX_TOLD = 8  # problems in one condition; more would not be read
CONNECTED = "Connected"
ALARM = "Alarm."  # and the property, a dot, the alarm: the type of an alarm's condition


class Note(NamedTuple):
    """Something that happened to a device and is worth an Event; `trouble` says that somebody should look."""

    reason: str
    message: str
    trouble: bool = False


class Health(NamedTuple):
    """What is to be said of a device.

    `link` is one of the four above and `link_text` the last trouble with it. `recently` says that a device that is away
    was there a moment ago. The lists name their property or field: `wiring` mistakes in the manifests, `readings` that
    are not usable or outside their limits, `refused` desired values that are not written, `failed` those that the device
    did not take, `pending` those that wait for it. `usable` says that some property gives a value, `desires` that there
    is any desired value. `alarms` come with their names, PROPERTY.ALARM.
    """

    link: str
    link_text: str
    recently: bool
    wiring: Sequence[str]
    readings: Sequence[str]
    refused: Sequence[str]
    failed: Sequence[str]
    pending: Sequence[str]
    usable: bool
    desires: bool
    pushing: Sequence[str] | None = None
    alarms: Sequence[tuple[str, Alarm]] = ()


def state(health: Health) -> str:
    """KubeEdge's word for it.

    `unknown`: not tried, as its wiring does not allow it. `offline`: away. `disconnected`: away, and was there a moment
    ago. `unhealthy`: answers nonsense, or with no usable value at all. `online`: answers, but not all is well. `ok`.
    """
    if health.link == UNTRIED:
        return "unknown"
    if health.link == AWAY:
        return "disconnected" if health.recently else "offline"
    if health.link == GARBLED or not health.usable:
        return "unhealthy"
    return "online" if health.wiring or health.readings else "ok"


def conditions(health: Health, before: Sequence[Condition], wall: float) -> tuple[Condition, ...]:
    """Every aspect in words. The time of a condition changes with its status."""
    since = {each.type: (each.status, each.last_transition_time) for each in before}
    found = []
    for type_, status, reason, message in _aspects(health):
        was, at = since.get(type_, ("", None))
        found.append(Condition(type_, status, reason, message, at if was == status else rfc3339(wall)))
    return tuple(found)


def _aspects(health: Health) -> list[tuple[str, str, str, str]]:
    found = [_aspect("Configured", "Wired", "WrongConfiguration", health.wiring)]
    if health.pushing is not None:
        found.append(_aspect("Pushed", "Taken", "NotTaken", health.pushing))
    if health.link == UNTRIED:
        return found
    if health.link == ANSWERS:
        found.append((CONNECTED, "True", "Answers", ""))
    else:
        found.append((CONNECTED, "False", "Unreachable" if health.link == AWAY else "Nonsense", health.link_text))
    if health.link == ANSWERS or health.readings:
        found.append(_aspect("ReadingsValid", "AsModelled", "NotAsModelled", health.readings))
    if health.desires:
        reason = "Refused" if health.refused else "NotTaken" if health.failed else "Pending"
        found.append(_aspect("DesiredApplied", "Applied", reason, [*health.refused, *health.failed, *health.pending]))
    for name, alarm in health.alarms:
        found.append((f"{ALARM}{name}", "True" if alarm.raised else "False", alarm.limit.severity.capitalize(), alarm.words))
    return found


def _aspect(type_: str, good: str, bad: str, problems: Sequence[str]) -> tuple[str, str, str, str]:
    if not problems:
        return type_, "True", good, ""
    more = f"; and {len(problems) - MAX_TOLD} more" if len(problems) > MAX_TOLD else ""
    return type_, "False", bad, "; ".join(problems[:MAX_TOLD]) + more


def differs(one: DeviceStatus, other: DeviceStatus) -> bool:
    """Whether they say different things: times aside, and the words of a lost connection, which vary from try to try."""
    return _said(one) != _said(other)


def lasting(one: DeviceStatus, other: DeviceStatus) -> bool:
    """Whether they differ in what must survive a crash: all but readings and times, which are soon read anew."""
    return _lasts(one) != _lasts(other)


def _lasts(status: DeviceStatus) -> object:
    return (
        status.state,
        [(twin.property_name, twin.observed_desired.value) for twin in status.twins if twin.observed_desired.metadata],
        [(each.type, each.status, each.reason) for each in status.conditions],
    )


def _said(status: DeviceStatus) -> object:
    return (
        status.state,
        [(twin.property_name, twin.reported.value, twin.observed_desired.value) for twin in status.twins],
        [(each.type, each.status, each.reason, "" if each.type == CONNECTED else each.message) for each in status.conditions],
    )


def twin_value(text: str, type_: str, wall: float) -> TwinValue:
    """A value with KubeEdge's metadata: `timestamp` in milliseconds since 1970, `type` in lower case."""
    return TwinValue(text, {"timestamp": str(round(wall * 1000)), "type": type_.lower()})


def version(value: TwinValue) -> int:
    """Which one of the values of its twin it is; 0 when it does not say."""
    text = value.metadata.get("version", "0")
    return int(text) if text.isdecimal() else 0


def versioned(value: TwinValue, before: TwinValue) -> TwinValue:
    """`value` in place of the one `before`, with the version that follows when it is another."""
    last = version(before)
    following = last if value.value == before.value and last else last + 1
    return TwinValue(value.value, {**value.metadata, "version": str(following)}) if value.metadata else value


def rfc3339(wall: float) -> str:
    """A time as the API writes it, in whole seconds."""
    return datetime.datetime.fromtimestamp(int(wall), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
