"""Devices that no mapper here reads: their values come from outside, by MQTT or a mapper in a process of its own. Pure.

Such a device is wired as any other: its model checks types and limits, its report strategies choose the readings. What it
should be (`desired`) is told to whoever tells its values; it is applied once they say so.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edged.device.mapper import Mappers, Session
from edged.device.readings import Reading
from edged.device.report import ANSWERS, UNTRIED, Health, conditions, rfc3339, state, twin_value, twins
from edged.device.sampling import Sampler
from edged.device.wiring import Wired, Wiring, meaning
from edged.errors import InvalidError, UnreachableError
from edged.model.devices import DeviceStatus, Twin, TwinValue
from edged.model.meta import JSON
from edged.model.values import Value, from_text, outside, to_text

EDGE_VERSION, CLOUD_VERSION = "version", "cloudVersion"  # in a value's metadata: how often which side wrote it
OFFLINE, UNKNOWN = "offline", "unknown"


class Place(NamedTuple):
    """Where a property is: outside."""

    writable: bool = True

    def nearest(self, value: Value) -> Value:
        """Whoever is outside takes it as it is."""
        return value


class External:
    """The mapper of devices that nobody here talks to."""

    def address(self, config: JSON) -> None:
        """Nowhere: configData is for whoever tells the values."""

    def point(self, type_: str, config: JSON) -> Place:
        """As above."""
        return Place()

    async def connect(self, address: None) -> Session[Place]:
        """There is nothing to connect to."""
        raise UnreachableError("its values come from outside")


def make(mappers: Mappers) -> External:
    """The mapper, as `mapper.MODULES` asks for it."""
    return External()


class Told(NamedTuple):
    """A value that somebody outside tells, as text; when it was so, in milliseconds since 1970, None: now."""

    value: str
    time: int | None = None


class ExternalTwin:
    """What was told of one device. `stored` is the status that the store has."""

    def __init__(self, wiring: Wiring, stored: DeviceStatus) -> None:
        self._stored = stored.conditions
        self._reported = {twin.property_name: twin.reported for twin in stored.twins if twin.reported.metadata}
        self._observed = {twin.property_name: twin.observed_desired for twin in stored.twins}
        self._wrong: dict[str, str] = {}
        self._said = stored.state if stored.state == OFFLINE else ""
        self._last_online = stored.last_online_time
        self._readings: list[Reading] = []
        self.pushing: Sequence[str] | None = None  # what keeps readings from the targets of pushMethods; None: there are none
        self._samplers: dict[str, Sampler] = {}
        self.wiring = wiring
        self.rewire(wiring)

    def rewire(self, wiring: Wiring) -> None:
        """The device or its model was changed."""
        self.wiring = wiring
        self.wired = {each.name: each for each in wiring.properties}
        before, self._samplers = self._samplers, {}
        for each in wiring.properties:
            known = before.get(each.name)
            kept = known is not None and known.strategy == each.strategy
            self._samplers[each.name] = known if known and kept else Sampler(each.strategy, 0.0)
            self._observe(each, self._reported.get(each.name, TwinValue()))

    def take(self, values: Mapping[str, Told], now: float, wall: float) -> None:
        """These values were told. InvalidError says which is wrong, and why; nothing is taken then."""
        for name, value in self.check(values).items():
            wired, time = self.wired[name], values[name].time
            latest = twin_value(to_text(value), wired.type, wall)
            if time is not None:
                latest.metadata["timestamp"] = str(time)
            latest.metadata.update(next_version(self._reported.get(name, TwinValue()).metadata))
            self._reported[name] = latest
            self._observe(wired, latest)
            if self._samplers[name].take(value, now):
                self._readings.append(Reading(name, wired.type.lower(), latest.value, int(latest.metadata["timestamp"])))
        self._said = ""
        self._last_online = rfc3339(wall)

    def check(self, values: Mapping[str, Told]) -> dict[str, Value]:
        """What these values mean. InvalidError says which is wrong, and why."""
        return {name: self._value(name, told.value) for name, told in values.items()}

    def say(self, said: str, wall: float) -> None:
        """Somebody outside says that the device is online, offline or unknown."""
        self._said = "" if said == "online" else said
        if said == "online":
            self._last_online = rfc3339(wall)

    def readings(self) -> list[Reading]:
        """What was told since this was last asked, as far as it is worth a reading."""
        found, self._readings = self._readings, []
        return found

    def status(self, wall: float) -> DeviceStatus:
        """The status to store."""
        pending = [f"{name}: {text} waits to be told back" for name, text in self._pending().items()]
        told = any(name in self._reported for name in self.wired)
        health = Health(
            link=ANSWERS if told else UNTRIED,
            link_text="",
            recently=False,
            wiring=self.wiring.problems,
            readings=[],
            refused=self.wiring.refused(),
            failed=[],
            pending=pending,
            usable=True,
            desires=any(each.desired is not None or each.refusal for each in self.wired.values()),
            pushing=self.pushing,
        )
        self._stored = conditions(health, self._stored, wall)
        return DeviceStatus(
            twins=twins([(name, self._reported.get(name, TwinValue()), self._observed_of(name)) for name in self.wired]),
            state=self._said or (state(health) if told else UNKNOWN),
            last_online_time=self._last_online,
            conditions=self._stored,
        )

    def _value(self, name: str, text: str) -> Value:
        wired = self.wired.get(name)
        if wired is None:
            raise InvalidError(f'the device has no property "{name}"')
        try:
            value = from_text(wired.type, text)
        except ValueError as error:
            raise InvalidError(f"{name}: {error}") from error
        if wrong := outside(value, wired.minimum, wired.maximum):
            raise InvalidError(f"{name}: {text} is {wrong}")
        return value

    def _observe(self, wired: Wired, latest: TwinValue) -> None:
        desired = wired.desired
        if desired is not None and latest.metadata and meaning(wired, latest.value) == desired.value:
            metadata = {name: text for name, text in latest.metadata.items() if name in ("timestamp", "type")}
            self._observed[wired.name] = TwinValue(desired.text, metadata)

    def _observed_of(self, name: str) -> TwinValue:
        return self._observed.get(name, Twin(name).observed_desired)

    def _pending(self) -> dict[str, str]:
        return {
            name: wired.desired.text
            for name, wired in self.wired.items()
            if wired.desired is not None and meaning(wired, self._observed_of(name).value) != wired.desired.value
        }


def next_version(metadata: Mapping[str, str]) -> dict[str, str]:
    """The versions of a value that is written here over one with this metadata."""
    cloud, edge = versions(metadata)
    return {CLOUD_VERSION: str(cloud), EDGE_VERSION: str(edge + 1)}


def versions(metadata: Mapping[str, str]) -> tuple[int, int]:
    """How often a value was written by the cloud, and at the edge; 0 where that is not told."""
    found = [metadata.get(name, "") for name in (CLOUD_VERSION, EDGE_VERSION)]
    cloud, edge = (int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0 for text in found)
    return cloud, edge
