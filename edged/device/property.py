"""What is known of one property of a device: its value, what it should be, what was reported. Pure."""

import math
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from edged.device.alarms import Alarm
from edged.device.report import ALARM, version, versioned
from edged.device.sampling import Sampler
from edged.device.wiring import Wired, meaning
from edged.kit.backoff import Backoff
from edged.model.devices import Twin, TwinValue
from edged.model.meta import Condition
from edged.model.values import Value, to_text

AGAIN_FIRST_S, AGAIN_CAP_S = 0.5, 300.0  # a desired value that is not taken; the cap spares a device's own EEPROM


class Stamp(NamedTuple):
    """A type in lower case, and a time in milliseconds since 1970, also as text."""

    type: str
    ms: int
    text: str

    def at(self, ms: int) -> "Stamp":
        """The same at another time."""
        return Stamp(self.type, ms, str(ms))


class Property:
    """What is known of one property."""

    def __init__(self, wired: Wired, stored: Twin, conditions: Sequence[Condition], now: float, random: Random) -> None:
        self.due = now  # of the next read
        self.heard = False  # the device sends it by itself, in this session
        self.tried = False  # in this session
        self.value: Value | None = None  # the latest
        self.text = ""  # the same as text
        self.stamp: Stamp | None = None  # of the latest value
        self.reading = ""  # what is wrong with the latest reading
        self.failing = False  # the latest reading gave no value
        self.reported = stored.reported
        self._version = version(stored.reported)
        self.fresh = False  # there is a value that was not reported
        self.report_at = -math.inf  # not before this time is another value reported
        self.observed = self._acted = stored.observed_desired  # what was acted on last, and last with success
        self._said = stored  # what is reported and observed
        self.again = now  # not before this time is the desired value written (again)
        self.backoff = Backoff(AGAIN_FIRST_S, AGAIN_CAP_S, random)
        self.writing = ""  # what is wrong with the latest write
        self.wired = wired
        self.sampler = Sampler(wired.strategy, wired.collect_s)
        self.alarms = _alarms(wired, conditions)
        self._settle()

    def rewire(self, wired: Wired) -> None:
        """Its manifest was changed."""
        if (self.wired.strategy, self.wired.collect_s) != (wired.strategy, wired.collect_s):
            self.sampler = Sampler(wired.strategy, wired.collect_s)
        if self.wired.alarms != wired.alarms:
            self.alarms = _alarms(wired, ())
        self.wired = wired
        self._settle()

    def observe(self, observed: TwinValue) -> None:
        """This desired value was acted on; an empty one: the device may hold any."""
        if self.observed.metadata:
            self._acted = self.observed
        self.observed = versioned(observed, self._acted)
        self._said = Twin(self.wired.name, self.reported, self.observed)
        self._settle()

    def _settle(self) -> None:
        desired = self.wired.desired
        self.pending = desired is not None and desired.value != meaning(self.wired, self.observed.value)

    def found(self, value: Value, stamp: Stamp) -> bool:
        """This value was read. Whether it is another than before."""
        first, self.stamp = self.stamp is None, stamp
        if value == self.value and not first:
            return False
        before, self.value, self.text = self.text, value, to_text(value)
        self.fresh = self.text != self.reported.value or not self.reported.metadata
        return first or self.text != before

    def resume(self, value: Value) -> None:
        """What was reported before this process began, which means `value`, is the latest."""
        time = self.reported.metadata.get("timestamp", "")
        self.value, self.text = value, self.reported.value
        self.stamp = Stamp(self.wired.type.lower(), int(time) if time.isdecimal() else 0, time)

    def told(self, said: Twin, now: float) -> None:
        """This was reported."""
        reported = said.reported
        self._version += reported.value != self.reported.value or not self._version
        self.reported, self.report_at = reported, now + self.wired.report_s
        self._said = said if said.observed_desired is self.observed else Twin(said.property_name, reported, self.observed)
        self.fresh = self.stamp is not None and self.text != reported.value

    @property
    def wanted(self) -> str:
        """The desired value as it was given."""
        return "" if self.wired.desired is None else self.wired.desired.text

    def report(self, now: float) -> Twin:
        """What to report: the latest value, but a new one not before its time."""
        stamp = self.stamp
        if stamp is None or (self.fresh and now < self.report_at):
            return self._said
        number = self._version + (self.fresh or not self._version)
        metadata = {"timestamp": stamp.text, "type": stamp.type, "version": str(number)}
        return Twin(self.wired.name, TwinValue(self.text, metadata), self.observed)


def _alarms(wired: Wired, conditions: Sequence[Condition]) -> list[Alarm]:
    """The alarms of a property, as it was said before that they stand."""
    said = {each.type: each for each in conditions}
    found = [(limit, said.get(f"{ALARM}{wired.name}.{limit.name}")) for limit in wired.alarms]
    return [Alarm(limit, was is not None and was.status == "True", was.message if was else "") for limit, was in found]
