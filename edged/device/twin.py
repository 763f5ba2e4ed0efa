"""What a device is and should be: what to read and write when, and what to report. Pure: time comes in as arguments.

`now` is monotonic seconds, `wall` seconds since 1970. The shell does one `task` at a time and tells what came of it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from random import Random
from typing import NamedTuple

from edged.device.alarms import Turn
from edged.device.mapper import Found, Point, PropertyError, Sample, Want
from edged.device.property import Property, Stamp
from edged.device.readings import Reading
from edged.device.report import (
    ANSWERS,
    AWAY,
    GARBLED,
    MAX_TOLD,
    UNTRIED,
    Health,
    Note,
    conditions,
    differs,
    lasting,
    rfc3339,
    state,
    twin_value,
)
from edged.device.sampling import ON_CHANGE
from edged.device.wiring import Desired, Wired, Wiring, meaning
from edged.model.devices import DeviceStatus, Twin, TwinValue
from edged.model.formula import Formula
from edged.model.values import Value, outside, to_text

REFRESH_S = 1800.0  # unchanged values get new timestamps this often, unless the device says: each goes to every node
STATE_GAP_S = 1.0  # a state that changes faster is written at most this often
OFFLINE_AFTER_S = 30.0  # a device that was there is "disconnected" this long, then "offline"
MOST = 1 << 16  # properties that are read together: all
BEAT_S = 0.05  # devices are read at multiples of this: those of one moment wake the process but once
PHASE_S = 60.0  # cycles of a device begin at a moment of this minute that is its own, so that not all are read together
BURST_MS = 1000  # values of one millisecond get a time each, for targets that know readings by it, so far ahead of the clock
EARLY_S = BEAT_S / 2  # a report so little before its time is on time: the clock's fractions are not exact
DISCONNECTED, OFFLINE = "disconnected", "offline"
# What KubeEdge's words mean when whoever tells a device's values says how it is; any other: they do not know.
LINKS = {"ok": ANSWERS, "online": ANSWERS, "unhealthy": GARBLED, DISCONNECTED: AWAY, OFFLINE: AWAY}


class Read(NamedTuple):
    """Read these properties, and call `read`."""

    wired: tuple[Wired, ...]


class Write(NamedTuple):
    """Write this value and read it back, and call `written` or `unwritten`."""

    wired: Wired
    desired: Desired


Task = Read | Write


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
        self._phase = random.randrange(round(PHASE_S / BEAT_S)) * BEAT_S
        self._readings: list[Reading] = []
        self._untold = True  # something happened since a status was made
        self.look_at = math.inf  # when time alone may change the status
        self._stamped = 0.0  # the wall time of the stamps, by type
        self._stamps: dict[str, Stamp] = {}
        self._pushing: Sequence[str] | None = None  # what keeps readings from the targets of pushMethods; None: there are none
        self._hearing: dict[Point, list[Property]] = {}
        self._notes: list[Note] = []
        self._turns: list[tuple[str, Turn]] = []
        self._properties: dict[str, Property] = {}
        self._computed: dict[str, Property] = {}
        self._all: dict[str, Property] = {}  # both
        self._desired: list[Property] = []  # those that are to be something
        self._alarmed: list[Property] = []  # those with alarms
        self._due = math.inf  # of the next read
        self._values: dict[str, Value] = {}  # of what is computed with, the latest
        self._changed: set[str] = set()  # of these, what was read since
        self.wiring = wiring
        self.rewire(wiring, now)
        if wiring.external and any(each.reported.metadata for each in self._properties.values()):
            self._link = AWAY if stored.state in {DISCONNECTED, OFFLINE} else ANSWERS  # as before this process began

    def rewire(self, wiring: Wiring, now: float) -> None:
        """The device or its model was changed. What is known of a property is kept while it stays where it was."""
        if wiring.address != self.wiring.address or not wiring.properties:
            self._link, self._away_since = UNTRIED, -math.inf
        known_twins = {twin.property_name: twin for twin in self._stored.twins}
        before, self._properties, self._computed = self._all, {}, {}
        for wired in (*wiring.properties, *wiring.computed):
            known = before.get(wired.name)
            if known is None or (known.wired.type, known.wired.point) != (wired.type, wired.point):
                stored = known_twins.get(wired.name, Twin(wired.name))
                known = Property(wired, stored, self._stored.conditions, now, self._random)
                self._values.pop(wired.name, None)
            elif known.wired.desired != wired.desired:
                known.again, known.writing = now, ""
                known.backoff.reset()
            if wired.refusal and (wired.name not in before or before[wired.name].wired.refusal != wired.refusal):
                self._notes.append(Note("DesiredRefused", f"{wired.name}: {wired.refusal}", trouble=True))
            known.due = min(known.due, now + wired.collect_s)
            known.rewire(wired)
            (self._computed if isinstance(wired.point, Formula) else self._properties)[wired.name] = known
        self._all = {**self._properties, **self._computed}
        self._desired = [each for each in self._properties.values() if each.wired.desired is not None]
        self._alarmed = [each for each in self._all.values() if each.alarms]
        self._schedule()
        self._inputs = frozenset(name for each in self._formulas() for name in each.names)
        self._changed |= self._inputs & self._values.keys()
        self.wiring, self._untold = wiring, True
        on_change = (wired for wired in wiring.properties if wired.strategy.kind == ON_CHANGE)
        self._wants = tuple(Want(wired.point, wired.collect_s, wired.strategy.deadband) for wired in on_change)
        if wiring.external:
            self._resume(now)

    def _formulas(self) -> list[Formula]:
        return [each.wired.point for each in self._computed.values() if isinstance(each.wired.point, Formula)]

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
        self._schedule()
        if self._properties and all(each.heard for each in self._properties.values()):
            self._answered(wall)

    def wants(self) -> tuple[Want[Point], ...]:
        """What the device may send by itself. A period is kept by asking: who is silent about no change does not keep it."""
        return self._wants

    def task(self, now: float) -> Task | None:
        """What to do now: a desired value first, then all reads that are due. None: nothing before `deadline`."""
        for each in self._desired:
            if each.pending and each.again <= now and each.wired.desired is not None:
                each.again = now + each.backoff.next()  # should this end the session, others are not held up by it
                self._task = Write(each.wired, each.wired.desired)
                return self._task
        if now < self._due:
            return None
        due = [each for each in self._properties.values() if each.due <= now]
        if len(due) > self._together:
            due = sorted(due, key=attrgetter("due"))[: self._together]
        wired = tuple([each.wired for each in due])
        begins = {cycle_s: self._next_cycle(cycle_s, now) for cycle_s in {each.collect_s for each in wired}}
        for each in due:
            each.due = begins[each.wired.collect_s]
        self._schedule()
        self._task = Read(wired)
        return self._task

    def _schedule(self) -> None:
        self._due = min((each.due for each in self._properties.values()), default=math.inf)

    def _next_cycle(self, collect_s: float, now: float) -> float:
        """When a cycle begins next; cycles that were missed are not made up for. Those of equal cycles are read together."""
        cycles = math.floor((now - self._phase) / collect_s) + 1
        begins = self._phase + cycles * collect_s
        return begins if begins > now else begins + collect_s  # a rounded quotient may be one too small

    def deadline(self) -> float:
        """When there is something to do next."""
        return min(self._due, min((each.again for each in self._desired if each.pending), default=math.inf))

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
        if lost := [what for what in found if isinstance(what[1], Sample) and what[1].gap]:
            self._told_gap([each.wired.name for point, _ in lost for each in self._hearing.get(point, ())])
        self._compute(now, wall)
        self._online_wall = wall

    def _told_gap(self, names: Sequence[str]) -> None:
        few = list(dict.fromkeys(names))
        more = f" and {len(few) - MAX_TOLD} more" if len(few) > MAX_TOLD else ""
        message = f"{', '.join(few[:MAX_TOLD])}{more}: changes were lost; the device kept no more of them for this node"
        self._notes.append(Note("ReadingsLost", message, trouble=True))

    def readings(self) -> list[Reading]:
        """What was read since this was last asked, as far as it is worth a reading."""
        found, self._readings = self._readings, []
        return found

    def turns(self) -> list[tuple[str, Turn]]:
        """The alarms that turned since this was last asked, with their properties."""
        found, self._turns = self._turns, []
        return found

    def notes(self) -> list[Note]:
        """What became of desired values and alarms since this was last asked."""
        found, self._notes = self._notes, []
        return found

    def written(self, task: Write, found: Sample | None, now: float, wall: float) -> None:
        """The device took a desired value. `found` is what was read back, None when it cannot be read."""
        each = self._current(task.wired)
        if each is not None and found is not None:
            self._find(each, found, now, wall)
            self._compute(now, wall)
        if each is not None and (found is None or found.value == task.desired.value):
            each.again = now
            self._applied(each, twin_value(task.desired.text, each.wired.type, wall))
        elif each is not None and found is not None:
            each.observe(TwinValue())  # neither the old nor the new value
            each.writing = f"{task.desired.text} was written, {to_text(found.value)} reads back"
            self._notes.append(Note("DesiredNotTaken", f"{each.wired.name}: {each.writing}", trouble=True))
        self._untold = True
        self._answered(wall)

    def _applied(self, each: Property, observed: TwinValue) -> None:
        each.observe(observed)
        each.writing = ""
        each.backoff.reset()
        self._notes.append(Note("DesiredApplied", f"{each.wired.name} is {observed.value}"))

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

    # What somebody outside says, who is not asked

    def receive(self, samples: Mapping[str, Sample], now: float, wall: float) -> None:
        """These properties have these values; a desired value that is told back is applied."""
        for name, sample in samples.items():
            each = self._properties[name]
            self._find(each, sample, now, wall)
            self._told_back(each)
        self._compute(now, wall)
        self.say("ok", now, wall)

    def say(self, state: str, now: float, wall: float) -> None:
        """The device is so, in KubeEdge's words."""
        link = LINKS.get(state, UNTRIED)
        if link == ANSWERS:
            self._online_wall = wall
        if link != ANSWERS or self._link != ANSWERS:
            self._untold = True
            self._link, self._link_text = link, "" if link == ANSWERS else f"whoever tells its values says {state}"
            self._away_since = now if state == DISCONNECTED else -math.inf

    def _resume(self, now: float) -> None:
        """What was told before this process began, or before the manifests said so, counts: nobody may tell it again."""
        for name, each in self._properties.items():
            value = meaning(each.wired, each.reported.value) if each.reported.metadata else None
            if each.stamp is None and value is not None:
                each.resume(value)
            if each.value is None:
                continue
            if name in self._inputs:
                self._values[name] = each.value
                self._changed.add(name)
            for alarm in each.alarms:
                if not alarm.knows:
                    self._turned(each.wired, alarm.take(each.value, now))
            self._told_back(each)

    def _told_back(self, each: Property) -> None:
        desired = each.wired.desired
        if each.pending and desired is not None and each.stamp is not None and each.value == desired.value:
            self._applied(each, TwinValue(desired.text, {"timestamp": each.stamp.text, "type": each.stamp.type}))

    def _find(self, each: Property, found: Found, now: float, wall: float) -> None:
        if isinstance(found, PropertyError):
            self._untold = self._untold or each.reading != str(found)
            each.reading, each.failing, each.tried = str(found), True, True
            if self._values.pop(each.wired.name, None) is not None:
                self._changed.add(each.wired.name)
            return
        wired, value = each.wired, found.value
        stamp = self._stamp(wired.type, wall if found.wall is None else found.wall)
        if found.wall is None and each.stamp is not None and stamp.ms <= each.stamp.ms < stamp.ms + BURST_MS:
            stamp = stamp.at(each.stamp.ms + 1)
        changed = each.found(value, stamp)
        wrong = outside(value, wired.minimum, wired.maximum)
        reading = f"{each.text} is {wrong}" if wrong else ""
        if changed or each.reading != reading:
            self._untold = True
        each.reading, each.failing, each.tried = reading, False, True
        if each.sampler.take(value, now):
            self._readings.append(Reading(wired.name, stamp.type, each.text, stamp.ms))
        for alarm in each.alarms:
            self._turned(wired, alarm.take(value, now))
            self._untold = True  # it may have begun to wait
        if wired.name in self._inputs:
            self._values[wired.name] = value
            self._changed.add(wired.name)

    def _stamp(self, type_: str, wall: float) -> Stamp:
        """When a value of a type was read: one for all that are read together."""
        if self._stamped != wall:
            self._stamped, self._stamps = wall, {}
        found = self._stamps.get(type_)
        if found is None:
            ms = round(wall * 1000)
            found = self._stamps[type_] = Stamp(type_.lower(), ms, str(ms))
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
                    self._find(each, Sample(value), now, wall)

    def _turned(self, wired: Wired, turn: Turn | None) -> None:
        if turn is not None:
            self._turns.append((wired.name, turn))
            reason, words = "AlarmRaised" if turn.on else "AlarmCleared", f"{wired.name} {turn.words}"
            self._notes.append(Note(reason, f"{turn.limit.name} ({turn.limit.severity}): {words}", trouble=turn.on))

    def _answered(self, wall: float) -> None:
        self._task = None
        self._online_wall = wall
        if self._link != ANSWERS and all(known.tried for known in self._properties.values()):
            self._untold = True
            self._link, self._link_text = ANSWERS, ""
            self._together = MOST

    def _current(self, wired: Wired) -> Property | None:
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
        return self._untold or now + EARLY_S >= self.look_at

    def status(self, now: float, wall: float) -> DeviceStatus | None:
        """The status that is to be stored now; None when the stored one will do, until `report_deadline`."""
        current = self._status(now, wall)
        self._untold, self.look_at = False, self.report_deadline(now) if current is None else now
        return current

    def whole_status(self, now: float, wall: float) -> DeviceStatus:
        """The status with all that is known now, for who does not wait for its time."""
        self._untold, self.look_at = False, now
        self._settle_alarms(now)
        return self._compose(now, wall, math.inf)

    def _status(self, now: float, wall: float) -> DeviceStatus | None:
        if self._link == UNTRIED and self._properties and not self.wiring.external:  # the first outcome is moments away
            return None
        self._settle_alarms(now)
        in_time = now + EARLY_S
        due = any(each.fresh and each.report_at <= in_time for each in self._all.values())
        if not due and now < self._stored_at + STATE_GAP_S:
            return None
        current = self._compose(now, wall, in_time)
        refresh = self.answers and now >= self._stored_at + self._refresh_s
        return current if due or refresh or differs(current, self._stored) else None

    def _settle_alarms(self, now: float) -> None:
        for each in self._alarmed:
            for alarm in each.alarms:
                self._turned(each.wired, alarm.settle(now))

    def _compose(self, now: float, wall: float, values_until: float) -> DeviceStatus:
        health = self._health(now)
        told = [each.report(values_until) for each in self._all.values()]
        return DeviceStatus(
            twins=tuple([each for each in told if each.reported.metadata or each.observed_desired.metadata]),
            state=state(health),
            last_online_time=self._last_online if self._online_wall is None else rfc3339(self._online_wall),
            conditions=conditions(health, self._stored.conditions, wall),
        )

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
            if each is not None and twin.reported is not each.reported:
                each.told(twin, now)
        self.look_at = self.report_deadline(now)

    def contradicted(self, status: DeviceStatus, now: float) -> None:
        """Another wrote this status into the store: it is said again how the device is."""
        self._stored, self._stored_at, self._untold = status, min(self._stored_at, now - STATE_GAP_S), True

    def report_deadline(self, now: float) -> float:
        """When `status` may have something to say, if nothing happens before."""
        times = chain(
            (each.report_at for each in self._all.values() if each.fresh),
            (alarm.due for each in self._alarmed for alarm in each.alarms),
            (self._stored_at + STATE_GAP_S, self._away_since + OFFLINE_AFTER_S),
            (self._stored_at + self._refresh_s,) * self.answers,
        )
        return min((time for time in times if time > now), default=math.inf)

    def _health(self, now: float) -> Health:
        known = self._all.items()
        pending = [each for each in self._desired if each.pending]
        waits = "told back" if self.wiring.external else "written"
        return Health(
            link=self._link,
            link_text=self._link_text,
            recently=now < self._away_since + OFFLINE_AFTER_S,
            wiring=self.wiring.problems,
            readings=[f"{name}: {each.reading}" for name, each in known if each.reading],
            refused=self.wiring.refused(),
            failed=[f"{each.wired.name}: {each.writing}" for each in pending if each.writing],
            pending=[f"{each.wired.name}: {each.wanted} waits to be {waits}" for each in pending if not each.writing],
            usable=not self._properties or not all(each.failing for each in self._properties.values()),
            desires=bool(self._desired) or any(each.wired.refusal for _, each in known),
            pushing=self._pushing,
            alarms=[(f"{each.wired.name}.{alarm.limit.name}", alarm) for each in self._alarmed for alarm in each.alarms],
        )
