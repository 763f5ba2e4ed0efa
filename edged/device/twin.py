"""What a device is and should be: what to read and write when, and what to report. Pure: time comes in as arguments.

`now` is monotonic seconds, `wall` seconds since 1970. The shell does one `task` at a time and tells what came of it.
"""

import math
from random import Random
from typing import NamedTuple

from edged.device.report import (
    ANSWERS,
    AWAY,
    GARBLED,
    UNTRIED,
    Health,
    conditions,
    differs,
    lasting,
    rfc3339,
    state,
    twin_value,
    twins,
)
from edged.device.values import Value, outside, to_text
from edged.device.wiring import Desired, Wired, Wiring, meaning
from edged.kit.backoff import Backoff
from edged.model.devices import DeviceStatus, Twin, TwinValue

REFRESH_S = 1800.0  # unchanged values get new timestamps this often: each goes to every node of the group
STATE_GAP_S = 1.0  # a state that changes faster is written at most this often
OFFLINE_AFTER_S = 30.0  # a device that was there is "disconnected" this long, then "offline"
AGAIN_FIRST_S, AGAIN_CAP_S = 0.5, 300.0  # a desired value that is not taken; the cap spares a device's own EEPROM


class Read(NamedTuple):
    """Read this property, and call `read` or `unread`."""

    wired: Wired


class Write(NamedTuple):
    """Write this value and read it back, and call `written` or `unwritten`."""

    wired: Wired
    desired: Desired


Task = Read | Write


class _Property:
    """What is known of one property."""

    def __init__(self, wired: Wired, stored: Twin, now: float, random: Random) -> None:
        self.due = now  # of the next read
        self.tried = False  # in this session
        self.latest: TwinValue | None = None
        self.reading = ""  # what is wrong with the latest reading
        self.failing = False  # the latest reading gave no value
        self.reported = stored.reported
        self.report_at = -math.inf  # not before this time is another value reported
        self.observed = stored.observed_desired
        self.again = now  # not before this time is the desired value written (again)
        self.backoff = Backoff(AGAIN_FIRST_S, AGAIN_CAP_S, random)
        self.writing = ""  # what is wrong with the latest write
        self.rewire(wired)

    def rewire(self, wired: Wired) -> None:
        """Its manifest was changed."""
        self.wired = wired
        self._settle()

    def observe(self, observed: TwinValue) -> None:
        """This desired value was acted on; an empty one: the device may hold any."""
        self.observed = observed
        self._settle()

    def _settle(self) -> None:
        desired = self.wired.desired
        self.pending = desired is not None and desired.value != meaning(self.wired, self.observed.value)

    @property
    def fresh(self) -> bool:
        """Whether there is a value that was not reported."""
        return self.latest is not None and (self.latest.value != self.reported.value or not self.reported.metadata)

    @property
    def wanted(self) -> str:
        """The desired value as it was given."""
        return "" if self.wired.desired is None else self.wired.desired.text

    def report(self, now: float) -> TwinValue:
        """What to report: the latest value, but a new one not before its time."""
        return self.reported if self.latest is None or (self.fresh and now < self.report_at) else self.latest


class DeviceTwin:
    """The twin of one device. `stored` is the status that the store has."""

    def __init__(self, wiring: Wiring, stored: DeviceStatus, now: float, random: Random) -> None:
        self._random = random
        self._stored = stored
        self._stored_at = now - STATE_GAP_S
        self._link, self._link_text, self._away_since = UNTRIED, "", -math.inf
        self._last_online = stored.last_online_time
        self._online_wall: float | None = None
        self._task: Task | None = None
        self._properties: dict[str, _Property] = {}
        self.wiring = wiring
        self.rewire(wiring, now)

    def rewire(self, wiring: Wiring, now: float) -> None:
        """The device or its model was changed. What is known of a property is kept while it stays where it was."""
        if wiring.address != self.wiring.address or not wiring.properties:
            self._link, self._away_since = UNTRIED, -math.inf
        known_twins = {twin.property_name: twin for twin in self._stored.twins}
        before, self._properties = self._properties, {}
        for wired in wiring.properties:
            known = before.get(wired.name)
            if known is None or (known.wired.type, known.wired.point) != (wired.type, wired.point):
                known = _Property(wired, known_twins.get(wired.name, Twin(wired.name)), now, self._random)
            elif known.wired.desired != wired.desired:
                known.again, known.writing = now, ""
                known.backoff.reset()
            known.due = min(known.due, now + wired.collect_s)
            known.rewire(wired)
            self._properties[wired.name] = known
        self.wiring = wiring

    # What to do

    def connected(self, now: float) -> None:
        """A session begins: everything is read anew. The device counts as answering after one whole round."""
        for each in self._properties.values():
            each.tried = False
            each.due = min(each.due, now)

    def task(self, now: float) -> Task | None:
        """What to do now: a desired value first, then the read that is longest due. None: nothing before `deadline`."""
        for each in self._properties.values():
            if each.pending and each.again <= now and each.wired.desired is not None:
                each.again = now + each.backoff.next()  # should this end the session, others are not held up by it
                self._task = Write(each.wired, each.wired.desired)
                return self._task
        each = min(self._properties.values(), key=lambda known: known.due)
        if each.due > now:
            return None
        missed = math.floor((now - each.due) / each.wired.collect_s)
        each.due += (missed + 1) * each.wired.collect_s  # keeps its phase; cycles that were missed are not made up for
        self._task = Read(each.wired)
        return self._task

    def deadline(self) -> float:
        """When there is something to do next."""
        times = [each.due for each in self._properties.values()]
        times += [each.again for each in self._properties.values() if each.pending]
        return min(times, default=math.inf)

    # What came of it

    def read(self, task: Read, value: Value, wall: float) -> None:
        """The device answered with a value."""
        each = self._current(task)
        if each is not None:
            self._take(each, value, wall)
        self._answered(wall)

    def unread(self, task: Read, why: str, wall: float) -> None:
        """The device answered that it has no value."""
        each = self._current(task)
        if each is not None:
            each.reading, each.failing, each.tried = why, True, True
        self._answered(wall)

    def written(self, task: Write, found: Value | None, now: float, wall: float) -> None:
        """The device took a desired value. `found` is what was read back, None when it cannot be read."""
        each = self._current(task)
        if each is not None and found is not None:
            self._take(each, found, wall)
        if each is not None and found in {None, task.desired.value}:
            each.observe(twin_value(task.desired.text, each.wired.type, wall))
            each.writing, each.again = "", now
            each.backoff.reset()
        elif each is not None and found is not None:
            each.observe(TwinValue())  # neither the old nor the new value
            each.writing = f"{task.desired.text} was written, {to_text(found)} reads back"
        self._answered(wall)

    def unwritten(self, task: Write, why: str, wall: float) -> None:
        """The device refused a desired value."""
        each = self._current(task)
        if each is not None:
            each.writing = f"{task.desired.text} is refused: {why}"
        self._answered(wall)

    def lost(self, why: str, now: float) -> None:
        """The device does not answer, or its connection broke. Whether a write reached it is not known."""
        if self._link != AWAY:
            self._away_since = now if self._link in {ANSWERS, GARBLED} else -math.inf
        self._broken(AWAY, why)

    def garbled(self, why: str) -> None:
        """The device answered with nonsense."""
        self._broken(GARBLED, why)

    def _broken(self, link: str, why: str) -> None:
        self._link, self._link_text = link, why
        each = self._current(self._task)
        if each is not None and isinstance(self._task, Write):
            each.observe(TwinValue())
            each.writing = f"{self._task.desired.text}: {why}"
        self._task = None

    @staticmethod
    def _take(each: _Property, value: Value, wall: float) -> None:
        each.latest = twin_value(to_text(value), each.wired.type, wall)
        wrong = outside(value, each.wired.minimum, each.wired.maximum)
        each.reading = f"{to_text(value)} is {wrong}" if wrong else ""
        each.failing, each.tried = False, True

    def _answered(self, wall: float) -> None:
        self._task = None
        self._online_wall = wall
        if all(known.tried for known in self._properties.values()):
            self._link, self._link_text = ANSWERS, ""

    def _current(self, task: Task | None) -> _Property | None:
        """The property of a task, unless it was rewired to another place meanwhile."""
        each = None if task is None else self._properties.get(task.wired.name)
        return each if each is not None and task is not None and each.wired.point == task.wired.point else None

    @property
    def answers(self) -> bool:
        """Whether the device answered a whole round since it was connected, and still does."""
        return self._link == ANSWERS

    # What to report

    def status(self, now: float, wall: float) -> DeviceStatus | None:
        """The status that is to be stored now; None when the stored one will do, until `report_deadline`."""
        if self._link == UNTRIED and self._properties:  # the first outcome is moments away
            return None
        due = any(each.fresh and each.report_at <= now for each in self._properties.values())
        if not due and now < self._stored_at + STATE_GAP_S:
            return None
        health = self._health(now)
        current = DeviceStatus(
            twins=twins([(name, each.report(now), each.observed) for name, each in self._properties.items()]),
            state=state(health),
            last_online_time=self._last_online if self._online_wall is None else rfc3339(self._online_wall),
            conditions=conditions(health, self._stored.conditions, wall),
        )
        refresh = self.answers and now >= self._stored_at + REFRESH_S
        return current if refresh or differs(current, self._stored) else None

    def volatile(self, status: DeviceStatus) -> bool:
        """Whether a status differs from the stored one only in what may be lost with this process: it costs no flash."""
        return not lasting(status, self._stored)

    def stored(self, status: DeviceStatus, now: float) -> None:
        """`status`, which was made at `now`, is in the store."""
        self._stored, self._stored_at = status, now
        self._last_online = status.last_online_time
        for twin in status.twins:
            each = self._properties.get(twin.property_name)
            if each is not None and twin.reported != each.reported:
                each.reported, each.report_at = twin.reported, now + each.wired.report_s

    def report_deadline(self, now: float) -> float:
        """When `status` may have something to say, if nothing happens before."""
        times = [each.report_at for each in self._properties.values() if each.fresh]
        times += [self._stored_at + STATE_GAP_S, self._away_since + OFFLINE_AFTER_S]
        if self.answers:
            times.append(self._stored_at + REFRESH_S)
        return min((time for time in times if time > now), default=math.inf)

    def _health(self, now: float) -> Health:
        known = self._properties.items()
        pending = {name: each for name, each in known if each.pending}
        return Health(
            link=self._link,
            link_text=self._link_text,
            recently=now < self._away_since + OFFLINE_AFTER_S,
            wiring=self.wiring.problems,
            readings=[f"{name}: {each.reading}" for name, each in known if each.reading],
            refused=self.wiring.refused(),
            failed=[f"{name}: {each.writing}" for name, each in pending.items() if each.writing],
            pending=[f"{name}: {each.wanted} waits to be written" for name, each in pending.items() if not each.writing],
            usable=not all(each.failing for _, each in known),
            desires=any(each.wired.desired is not None or each.wired.refusal for _, each in known),
        )
