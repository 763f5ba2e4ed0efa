"""What a device is and should be: what to read and write when, and what to report. Pure: time comes in as arguments.

`now` is monotonic seconds, `wall` seconds since 1970. The shell does one `task` at a time and tells what came of it.
"""

import math
from collections.abc import Collection, Sequence
from operator import attrgetter
from random import Random
from typing import NamedTuple

from edged.device.alarms import Alarm, Turn
from edged.device.mapper import Found, Point, PropertyError, Sample, Want
from edged.device.readings import Reading
from edged.device.report import (
    ALARM,
    ANSWERS,
    AWAY,
    GARBLED,
    UNTRIED,
    Health,
    Note,
    conditions,
    differs,
    lasting,
    rfc3339,
    state,
    twin_value,
    twins,
    versioned,
)
from edged.device.sampling import ON_CHANGE, Sampler
from edged.device.wiring import Desired, Wired, Wiring, meaning
from edged.kit.backoff import Backoff
from edged.model.devices import DeviceStatus, Twin, TwinValue
from edged.model.formula import Formula
from edged.model.meta import Condition
from edged.model.values import Value, outside, to_text

REFRESH_S = 1800.0  # unchanged values get new timestamps this often, unless the device says: each goes to every node
STATE_GAP_S = 1.0  # a state that changes faster is written at most this often
OFFLINE_AFTER_S = 30.0  # a device that was there is "disconnected" this long, then "offline"
MOST = 1 << 16  # properties that are read together: all
PHASE_S = 60.0  # cycles of a device begin at a moment of this minute that is its own, so that not all are read together
AGAIN_FIRST_S, AGAIN_CAP_S = 0.5, 300.0  # a desired value that is not taken; the cap spares a device's own EEPROM


class Read(NamedTuple):
    """Read these properties, and call `read`."""

    wired: tuple[Wired, ...]


class Write(NamedTuple):
    """Write this value and read it back, and call `written` or `unwritten`."""

    wired: Wired
    desired: Desired


Task = Read | Write


class _Stamp(NamedTuple):
    """A type in lower case, a time in milliseconds since 1970, and both as the metadata of a twin's value."""

    type: str
    ms: int
    metadata: dict[str, str]


class _Property:
    """What is known of one property."""

    def __init__(self, wired: Wired, stored: Twin, conditions: Sequence[Condition], now: float, random: Random) -> None:
        self.due = now  # of the next read
        self.heard = False  # the device sends it by itself, in this session
        self.tried = False  # in this session
        self.latest: TwinValue | None = None
        self.value: Value | None = None  # which `latest` has as text
        self.reading = ""  # what is wrong with the latest reading
        self.failing = False  # the latest reading gave no value
        self.reported = stored.reported
        self.fresh = False  # there is a value that was not reported
        self.report_at = -math.inf  # not before this time is another value reported
        self.observed = self._acted = stored.observed_desired  # what was acted on last, and last with success
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
        self._settle()

    def _settle(self) -> None:
        desired = self.wired.desired
        self.pending = desired is not None and desired.value != meaning(self.wired, self.observed.value)

    def found(self, latest: TwinValue) -> None:
        """This value was read."""
        self.latest = latest
        self.fresh = latest.value != self.reported.value or not self.reported.metadata

    def told(self, reported: TwinValue, now: float) -> None:
        """This value was reported."""
        self.reported, self.report_at = reported, now + self.wired.report_s
        if self.latest is not None:
            self.found(self.latest)

    @property
    def wanted(self) -> str:
        """The desired value as it was given."""
        return "" if self.wired.desired is None else self.wired.desired.text

    def report(self, now: float) -> TwinValue:
        """What to report: the latest value, but a new one not before its time."""
        if self.latest is None or (self.fresh and now < self.report_at):
            return self.reported
        return versioned(self.latest, self.reported)


def _alarms(wired: Wired, conditions: Sequence[Condition]) -> list[Alarm]:
    """The alarms of a property, as it was said before that they stand."""
    said = {each.type: each for each in conditions}
    found = [(limit, said.get(f"{ALARM}{wired.name}.{limit.name}")) for limit in wired.alarms]
    return [Alarm(limit, was is not None and was.status == "True", was.message if was else "") for limit, was in found]


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
        self._together = MOST  # properties in a read: fewer and fewer while one of them ends the session
        self._phase = random.uniform(0, PHASE_S)
        self._readings: list[Reading] = []
        self._untold = True  # something happened since a status was made
        self._look_at = math.inf  # when time alone may change the status
        self._stamps: tuple[float, dict[str, _Stamp]] = (0.0, {})  # of this wall time, by type
        self._pushing: Sequence[str] | None = None  # what keeps readings from the targets of pushMethods; None: there are none
        self._hearing: dict[Point, list[_Property]] = {}
        self._notes: list[Note] = []
        self._properties: dict[str, _Property] = {}
        self._computed: dict[str, _Property] = {}
        self._values: dict[str, Value] = {}  # of what is computed with, the latest
        self._changed: set[str] = set()  # of these, what was read since
        self.wiring = wiring
        self.rewire(wiring, now)

    def rewire(self, wiring: Wiring, now: float) -> None:
        """The device or its model was changed. What is known of a property is kept while it stays where it was."""
        if wiring.address != self.wiring.address or not wiring.properties:
            self._link, self._away_since = UNTRIED, -math.inf
        known_twins = {twin.property_name: twin for twin in self._stored.twins}
        before, self._properties, self._computed = {**self._properties, **self._computed}, {}, {}
        for wired in (*wiring.properties, *wiring.computed):
            known = before.get(wired.name)
            if known is None or (known.wired.type, known.wired.point) != (wired.type, wired.point):
                stored = known_twins.get(wired.name, Twin(wired.name))
                known = _Property(wired, stored, self._stored.conditions, now, self._random)
                self._values.pop(wired.name, None)
            elif known.wired.desired != wired.desired:
                known.again, known.writing = now, ""
                known.backoff.reset()
            if wired.refusal and (wired.name not in before or before[wired.name].wired.refusal != wired.refusal):
                self._notes.append(Note("DesiredRefused", f"{wired.name}: {wired.refusal}", trouble=True))
            known.due = min(known.due, now + wired.collect_s)
            known.rewire(wired)
            (self._computed if isinstance(wired.point, Formula) else self._properties)[wired.name] = known
        self._inputs = frozenset(name for each in self._formulas() for name in each.names)
        self._changed |= self._inputs & self._values.keys()
        self.wiring, self._untold = wiring, True
        on_change = (wired for wired in wiring.properties if wired.strategy.kind == ON_CHANGE)
        self._wants = tuple(Want(wired.point, wired.collect_s, wired.strategy.deadband) for wired in on_change)

    def _formulas(self) -> list[Formula]:
        return [each.wired.point for each in self._computed.values() if isinstance(each.wired.point, Formula)]

    @property
    def _all(self) -> dict[str, _Property]:
        return {**self._properties, **self._computed} if self._computed else self._properties

    # What to do

    def connected(self, now: float, wall: float, heard: Collection[Point] = ()) -> None:
        """A session begins, in which the points of `heard` come by themselves; all others are read anew.

        The device counts as answering after one whole round.
        """
        self._hearing = {}
        for each in self._properties.values():
            each.heard = each.tried = each.wired.strategy.kind == ON_CHANGE and each.wired.point in heard
            if each.heard:
                self._hearing.setdefault(each.wired.point, []).append(each)
            each.due = math.inf if each.heard else min(each.due, now)
        if self._properties and all(each.heard for each in self._properties.values()):
            self._answered(wall)

    def wants(self) -> tuple[Want[Point], ...]:
        """What the device may send by itself. A period is kept by asking: who is silent about no change does not keep it."""
        return self._wants

    def task(self, now: float) -> Task | None:
        """What to do now: a desired value first, then all reads that are due. None: nothing before `deadline`."""
        for each in self._properties.values():
            if each.pending and each.again <= now and each.wired.desired is not None:
                each.again = now + each.backoff.next()  # should this end the session, others are not held up by it
                self._task = Write(each.wired, each.wired.desired)
                return self._task
        due = sorted((each for each in self._properties.values() if each.due <= now), key=attrgetter("due"))[: self._together]
        if not due:
            return None
        begins = {cycle_s: self._next_cycle(cycle_s, now) for cycle_s in {each.wired.collect_s for each in due}}
        for each in due:
            each.due = begins[each.wired.collect_s]
        self._task = Read(tuple(each.wired for each in due))
        return self._task

    def _next_cycle(self, collect_s: float, now: float) -> float:
        """When a cycle begins next; cycles that were missed are not made up for. Those of equal cycles are read together."""
        cycles = math.floor((now - self._phase) / collect_s) + 1
        begins = self._phase + cycles * collect_s
        return begins if begins > now else begins + collect_s  # a rounded quotient may be one too small

    def deadline(self) -> float:
        """When there is something to do next."""
        times = [each.due for each in self._properties.values()]
        times += [each.again for each in self._properties.values() if each.pending]
        return min(times, default=math.inf)

    # What came of it

    def read(self, task: Read, found: Sequence[Found], now: float, wall: float) -> None:
        """The device answered, for each property with a sample, or that it has none."""
        for wired, what in zip(task.wired, found, strict=True):
            each = self._current(wired)
            if each is not None:
                self._find(each, what, now, wall)
        self._compute(now, wall)
        self._answered(wall)

    def heard(self, found: Sequence[tuple[Point, Found]], now: float, wall: float) -> None:
        """The device said by itself what is at these points."""
        for point, what in found:
            for each in self._hearing.get(point, ()):
                if self._properties.get(each.wired.name) is each:
                    self._find(each, what, now, wall)
        self._compute(now, wall)
        self._online_wall = wall

    def readings(self) -> list[Reading]:
        """What was read since this was last asked, as far as it is worth a reading."""
        found, self._readings = self._readings, []
        return found

    def notes(self) -> list[Note]:
        """What became of desired values and alarms since this was last asked."""
        found, self._notes = self._notes, []
        return found

    def written(self, task: Write, found: Sample | None, now: float, wall: float) -> None:
        """The device took a desired value. `found` is what was read back, None when it cannot be read."""
        each = self._current(task.wired)
        if each is not None and found is not None:
            self._take(each, found, now, wall)
            self._compute(now, wall)
        if each is not None and (found is None or found.value == task.desired.value):
            each.observe(twin_value(task.desired.text, each.wired.type, wall))
            each.writing, each.again = "", now
            each.backoff.reset()
            self._notes.append(Note("DesiredApplied", f"{each.wired.name} is {task.desired.text}"))
        elif each is not None and found is not None:
            each.observe(TwinValue())  # neither the old nor the new value
            each.writing = f"{task.desired.text} was written, {to_text(found.value)} reads back"
            self._notes.append(Note("DesiredNotTaken", f"{each.wired.name}: {each.writing}", trouble=True))
        self._untold = True
        self._answered(wall)

    def unwritten(self, task: Write, why: str, wall: float) -> None:
        """The device refused a desired value."""
        each = self._current(task.wired)
        if each is not None:
            each.writing = f"{task.desired.text} is refused: {why}"
            self._notes.append(Note("DesiredRefused", f"{each.wired.name}: {each.writing}", trouble=True))
        self._untold = True
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
        self._link, self._link_text, self._untold = link, why, True
        if isinstance(self._task, Read):
            self._together = max(1, len(self._task.wired) // 2)
        elif isinstance(self._task, Write) and (each := self._current(self._task.wired)) is not None:
            each.observe(TwinValue())
            each.writing = f"{self._task.desired.text}: {why}"
        self._task = None

    def _find(self, each: _Property, found: Found, now: float, wall: float) -> None:
        if isinstance(found, PropertyError):
            self._untold = self._untold or each.reading != str(found)
            each.reading, each.failing, each.tried = str(found), True, True
            if self._values.pop(each.wired.name, None) is not None:
                self._changed.add(each.wired.name)
        else:
            self._take(each, found, now, wall)

    def _take(self, each: _Property, sample: Sample, now: float, wall: float) -> None:
        wired, value, latest = each.wired, sample.value, each.latest
        text = to_text(value) if latest is None or value != each.value else latest.value
        stamp = self._stamp(wired.type, wall if sample.wall is None else sample.wall)
        wrong = outside(value, wired.minimum, wired.maximum)
        reading = f"{text} is {wrong}" if wrong else ""
        if latest is None or latest.value != text or each.reading != reading:
            self._untold = True
        each.value = value
        each.found(TwinValue(text, stamp.metadata))
        each.reading, each.failing, each.tried = reading, False, True
        if each.sampler.take(value, now):
            self._readings.append(Reading(wired.name, stamp.type, text, stamp.ms))
        for alarm in each.alarms:
            self._turned(wired, alarm.take(value, now))
            self._untold = True  # it may have begun to wait
        if wired.name in self._inputs:
            self._values[wired.name] = value
            self._changed.add(wired.name)

    def _stamp(self, type_: str, wall: float) -> "_Stamp":
        """When a value of a type was read: one for all that are read together."""
        of, stamps = self._stamps
        if of != wall:
            stamps = {}
            self._stamps = (wall, stamps)
        found = stamps.get(type_)
        if found is None:
            metadata = twin_value("", type_, wall).metadata
            found = stamps[type_] = _Stamp(metadata["type"], int(metadata["timestamp"]), metadata)
        return found

    def _compute(self, now: float, wall: float) -> None:
        """What is computed from what was read since the last time."""
        changed, self._changed = self._changed, set()
        if not changed:
            return
        for each in self._computed.values():
            point = each.wired.point
            if isinstance(point, Formula) and point.names & changed:
                try:
                    value = point.value(each.wired.type, self._values)
                except ValueError as error:
                    each.reading, each.failing, self._untold = str(error), True, True
                else:
                    self._take(each, Sample(value), now, wall)

    def _turned(self, wired: Wired, turn: Turn | None) -> None:
        if turn is not None:
            reason, words = "AlarmRaised" if turn.on else "AlarmCleared", f"{wired.name} {turn.words}"
            self._notes.append(Note(reason, f"{turn.limit.name} ({turn.limit.severity}): {words}", trouble=turn.on))

    def _answered(self, wall: float) -> None:
        self._task = None
        self._online_wall = wall
        if self._link != ANSWERS and all(known.tried for known in self._properties.values()):
            self._untold = True
            self._link, self._link_text = ANSWERS, ""
            self._together = MOST

    def _current(self, wired: Wired) -> _Property | None:
        """The property of a task, unless it was rewired to another place meanwhile."""
        each = self._properties.get(wired.name)
        return each if each is not None and (each.wired is wired or each.wired.point == wired.point) else None

    @property
    def answers(self) -> bool:
        """Whether the device answered a whole round since it was connected, and still does."""
        return self._link == ANSWERS

    @property
    def trouble(self) -> str:
        """The last trouble with the device, "" while it answers."""
        return self._link_text

    # What to report

    def pushing(self, problems: Sequence[str] | None) -> bool:
        """This keeps readings from the targets of the device's pushMethods; None: it has none. Whether that is news."""
        before, self._pushing = self._pushing, problems
        self._untold = self._untold or before != problems
        return before != problems

    def has_news(self, now: float) -> bool:
        """Whether `status` is worth asking: something happened, or the time has come. Cheap, unlike `status`."""
        return self._untold or now >= self._look_at

    def status(self, now: float, wall: float) -> DeviceStatus | None:
        """The status that is to be stored now; None when the stored one will do, until `report_deadline`."""
        current = self._status(now, wall)
        self._untold, self._look_at = False, self.report_deadline(now) if current is None else now
        return current

    def _status(self, now: float, wall: float) -> DeviceStatus | None:
        if self._link == UNTRIED and self._properties:  # the first outcome is moments away
            return None
        for each in self._all.values():
            for alarm in each.alarms:
                self._turned(each.wired, alarm.settle(now))
        due = any(each.fresh and each.report_at <= now for each in self._all.values())
        if not due and now < self._stored_at + STATE_GAP_S:
            return None
        health = self._health(now)
        current = DeviceStatus(
            twins=twins([(name, each.report(now), each.observed) for name, each in self._all.items()]),
            state=state(health),
            last_online_time=self._last_online if self._online_wall is None else rfc3339(self._online_wall),
            conditions=conditions(health, self._stored.conditions, wall),
        )
        refresh = self.answers and now >= self._stored_at + self._refresh_s
        return current if due or refresh or differs(current, self._stored) else None

    @property
    def _refresh_s(self) -> float:
        return max(STATE_GAP_S, self.wiring.refresh_s) if self.wiring.refresh_s else REFRESH_S

    def volatile(self, status: DeviceStatus) -> bool:
        """Whether a status differs from the stored one only in what may be lost with this process: it costs no flash."""
        return not lasting(status, self._stored)

    def stored(self, status: DeviceStatus, now: float) -> None:
        """`status`, which was made at `now`, is in the store."""
        self._stored, self._stored_at = status, now
        self._last_online = status.last_online_time
        for twin in status.twins:
            each = self._all.get(twin.property_name)
            if each is not None and twin.reported != each.reported:
                each.told(twin.reported, now)
        self._look_at = self.report_deadline(now)

    def contradicted(self, status: DeviceStatus, now: float) -> None:
        """Another wrote this status into the store: it is said again how the device is."""
        self._stored, self._stored_at, self._untold = status, min(self._stored_at, now - STATE_GAP_S), True

    def report_deadline(self, now: float) -> float:
        """When `status` may have something to say, if nothing happens before."""
        times = [each.report_at for each in self._all.values() if each.fresh]
        times += [alarm.due for each in self._all.values() for alarm in each.alarms]
        times += [self._stored_at + STATE_GAP_S, self._away_since + OFFLINE_AFTER_S]
        if self.answers:
            times.append(self._stored_at + self._refresh_s)
        return min((time for time in times if time > now), default=math.inf)

    def _health(self, now: float) -> Health:
        known = self._all.items()
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
            usable=not all(each.failing for each in self._properties.values()),
            desires=any(each.wired.desired is not None or each.wired.refusal for _, each in known),
            pushing=self._pushing,
            alarms=[(f"{name}.{alarm.limit.name}", alarm) for name, each in known for alarm in each.alarms],
        )
