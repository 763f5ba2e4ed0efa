"""Dialogues with a twin on a made-up clock."""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edged.device.mapper import Found, Mappers, PropertyError, Sample
from edged.device.property import AGAIN_CAP_S
from edged.device.report import Note, rfc3339
from edged.device.twin import OFFLINE_AFTER_S, REFRESH_S, STATE_GAP_S, DeviceTwin, Read, Write
from edged.device.wiring import Wiring, wire
from edged.model.devices import DeviceStatus
from edged.model.values import Value, to_text

WALL = 1_700_000_000.0


class Story:
    """A twin, its clock, and a device of registers that does what it is told."""

    def __init__(self, parts: Any, stored: DeviceStatus | None = None, **properties: Any) -> None:
        self.parts = parts
        self.now = 100.0
        self.status = stored or DeviceStatus()
        self.writes: list[DeviceStatus] = []
        self.registers: dict[str, Value] = {
            "temperature": Decimal("20.5"),
            "setpoint": Decimal(21),
            "heating": False,
            "serial": "A7",
        }
        self.clamp: Decimal | None = None
        self.twin = DeviceTwin(self.wiring(**properties), self.status, self.now, Random(1))
        self.log: list[str] = []

    def wiring(self, **properties: Any) -> Wiring:
        return wire(self.parts.device(**properties), self.parts.model(), Mappers(Path()).find)

    @property
    def wall(self) -> float:
        return WALL + self.now

    def act(self) -> None:
        """Do all that is due, at once."""
        while (task := self.twin.task(self.now)) is not None:
            if isinstance(task, Read):
                self.log += [f"read {wired.name}" for wired in task.wired]
                self.read(task)
            else:
                name = task.wired.name
                self.log.append(f"write {name} {to_text(task.desired.value)}")
                self.registers[name] = self.clamp or task.desired.value
                self.twin.written(task, Sample(self.registers[name]), self.now, self.wall)

    def read(self, task: Read, **found: Found) -> None:
        """The registers as they are, but for what was `found` instead."""
        known = {name: Sample(value) for name, value in self.registers.items()} | found
        self.twin.read(task, [known[wired.name] for wired in task.wired], self.now, self.wall)

    def connected(self) -> None:
        self.twin.connected(self.now, self.wall)

    def report(self) -> DeviceStatus | None:
        news = self.twin.has_news(self.now)
        found = self.twin.status(self.now, self.wall)
        assert news or found is None, "a status that nobody would have asked for"
        if found is not None:
            self.status = found
            self.writes.append(found)
            self.twin.stored(found, self.now)
        return found

    def run(self, seconds: float) -> None:
        """Follow the deadlines, as the shell does."""
        end = self.now + seconds
        while self.now < end:
            self.act()
            self.report()
            self.now = min(end, self.twin.deadline(), self.twin.report_deadline(self.now))

    def reported(self, name: str) -> str:
        return next((twin.reported.value for twin in self.status.twins if twin.property_name == name), "")

    def observed(self, name: str) -> str:
        return next((twin.observed_desired.value for twin in self.status.twins if twin.property_name == name), "")

    def condition(self, type_: str) -> tuple[str, str]:
        return next((each.reason, each.message) for each in self.status.conditions if each.type == type_)


def test_a_reading_is_reported(parts: Any) -> None:
    story = Story(parts, temperature={})
    story.connected()
    story.act()
    found = story.report()
    assert found is not None
    assert (found.state, found.last_online_time) == ("ok", rfc3339(WALL + 100))
    (twin,) = found.twins
    assert (twin.property_name, twin.reported.value) == ("temperature", "20.5")
    assert twin.reported.metadata == {"timestamp": "1700000100000", "type": "float", "version": "1"}


def test_reads_keep_their_cycles_without_drift(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000}, setpoint={"collectCycle": 250})
    for _ in range(200):
        story.now += 0.051  # the shell is never on time
        story.act()
    assert story.log.count("read temperature") in {11, 12}  # the first at once, the next ones at moments of their own
    assert story.log.count("read setpoint") in {41, 42}


def test_missed_cycles_are_not_made_up_for(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000})
    story.act()
    story.now += 10.3
    story.act()
    assert story.log == ["read temperature"] * 2
    assert story.now < story.twin.deadline() <= story.now + 1


def test_an_unchanged_value_is_stored_once_and_refreshed_rarely(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000, "reportCycle": 1000})
    story.run(REFRESH_S - 1)
    assert len(story.writes) == 1
    story.run(REFRESH_S)
    assert len(story.writes) == 2
    stamps = [int(status.twins[0].reported.metadata["timestamp"]) for status in story.writes]
    assert (REFRESH_S - 1) * 1000 <= stamps[1] - stamps[0] <= REFRESH_S * 1000  # as of the last cycle


def test_an_unchanged_value_is_no_news(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000, "reportCycle": 1000})
    story.run(10)
    story.now = story.twin.deadline()
    story.act()
    assert not story.twin.has_news(story.now)
    story.registers["temperature"] = Decimal(22)
    story.now = story.twin.deadline()
    story.act()
    assert story.twin.has_news(story.now)
    story.report()
    assert not story.twin.has_news(story.now)


def test_after_a_restart_the_same_value_is_not_stored_again(parts: Any) -> None:
    story = Story(parts, setpoint={"desired": {"value": "22"}})
    story.run(3)
    again = Story(parts, story.status, setpoint={"desired": {"value": "22.0"}})
    again.registers = story.registers
    again.run(60)
    assert again.writes == []
    assert not [each for each in again.log if each.startswith("write")]


def test_a_value_is_reported_at_most_once_in_its_cycle(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 100, "reportCycle": 2000})
    for tenths in range(200):
        story.registers["temperature"] = Decimal(tenths) / 10
        story.run(0.1)
    assert len(story.writes) == 10
    assert 17.8 <= float(story.reported("temperature")) <= 18.2  # of the tenth cycle: the next is due at 20


def test_each_property_has_its_own_report_cycle(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 100, "reportCycle": 1000}, setpoint={"reportCycle": 5000})
    seen = []
    for tenths in range(1, 101):
        story.registers |= {"temperature": Decimal(tenths), "setpoint": Decimal(tenths)}
        story.run(0.1)
        seen.append((story.reported("temperature"), story.reported("setpoint")))
    assert len({one for one, _ in seen}) == 10
    assert len({other for _, other in seen}) == 2


def test_a_desired_value_is_written_and_observed(parts: Any) -> None:
    story = Story(parts, temperature={}, setpoint={"desired": {"value": "22.50"}})
    story.run(2)
    assert story.log[0] == "write setpoint 22.5"
    assert story.log.count("write setpoint 22.5") == 1
    assert (story.reported("setpoint"), story.observed("setpoint")) == ("22.5", "22.50")
    assert story.condition("DesiredApplied") == ("Applied", "")
    story.registers["setpoint"] = Decimal(19)  # somebody turned the knob: that is the device's affair
    story.run(2)
    assert story.log.count("write setpoint 22.5") == 1
    assert story.reported("setpoint") == "19"


def test_the_newest_desired_value_wins(parts: Any) -> None:
    story = Story(parts, setpoint={"desired": {"value": "22"}})
    task = story.twin.task(story.now)
    assert isinstance(task, Write)
    story.twin.rewire(story.wiring(setpoint={"desired": {"value": "23"}}), story.now)
    story.twin.written(task, Sample(Decimal(22)), story.now, story.wall)  # came too late to be the last word
    story.act()
    assert story.log[0] == "write setpoint 23"
    story.run(2)
    assert story.observed("setpoint") == "23"


def test_a_value_that_does_not_stick_is_said_and_tried_ever_more_rarely(parts: Any) -> None:
    story = Story(parts, setpoint={"desired": {"value": "30"}, "collectCycle": 5000})
    story.clamp = Decimal(25)
    story.run(3600)
    assert story.condition("DesiredApplied") == ("NotTaken", "setpoint: 30 was written, 25 reads back")
    assert story.observed("setpoint") == ""
    assert 10 < story.log.count("write setpoint 30") < 20 + 3600 / (AGAIN_CAP_S / 2)
    story.clamp = None
    story.run(AGAIN_CAP_S + 1)
    assert story.condition("DesiredApplied") == ("Applied", "")


def test_back_to_the_old_value_after_a_write_of_unknown_outcome(parts: Any) -> None:
    story = Story(parts, setpoint={"desired": {"value": "22"}})
    story.run(2)
    story.twin.rewire(story.wiring(setpoint={"desired": {"value": "28"}}), story.now)
    task = story.twin.task(story.now)
    assert isinstance(task, Write)
    story.registers["setpoint"] = Decimal(28)  # it arrived, its confirmation did not
    story.twin.lost("silence", story.now)
    story.twin.rewire(story.wiring(setpoint={"desired": {"value": "22"}}), story.now)
    story.connected()
    story.run(2)
    assert story.registers["setpoint"] == 22
    assert story.observed("setpoint") == "22"


def test_a_desired_value_waits_for_the_device(parts: Any) -> None:
    story = Story(parts, temperature={}, setpoint={})
    story.run(2)
    story.twin.lost("no route", story.now)
    story.twin.rewire(story.wiring(temperature={}, setpoint={"desired": {"value": "22"}}), story.now)
    story.now += STATE_GAP_S
    story.report()
    assert story.condition("DesiredApplied") == ("Pending", "setpoint: 22 waits to be written")
    assert story.status.state == "disconnected"
    story.connected()
    story.run(2)
    assert story.condition("DesiredApplied") == ("Applied", "")


def test_refused_desired_values(parts: Any) -> None:
    story = Story(parts, temperature={"desired": {"value": "1"}}, setpoint={"desired": {"value": "99"}})
    story.run(2)
    reason, message = story.condition("DesiredApplied")
    assert reason == "Refused"
    assert message == (
        "temperature: the DeviceModel says accessMode ReadOnly: a desired value is not written; "
        "setpoint: 99 is over its maximum 30"
    )
    assert not [each for each in story.log if each.startswith("write")]
    assert story.status.state == "ok"


def test_a_device_refuses_a_write(parts: Any) -> None:
    story = Story(parts, setpoint={"desired": {"value": "22"}})
    task = story.twin.task(story.now)
    assert isinstance(task, Write)
    story.twin.unwritten(task, "exception 3", story.wall)
    assert story.report() is None  # nothing was read yet
    story.act()
    story.report()
    assert story.condition("DesiredApplied") == ("NotTaken", "setpoint: 22 is refused: exception 3")
    assert story.reported("setpoint") == "21"


def test_a_device_goes_away_and_comes_back(parts: Any) -> None:
    story = Story(parts, temperature={})
    story.run(2)
    assert story.status.state == "ok"
    online = story.status.last_online_time
    story.twin.lost("127.0.0.1:1502 does not answer", story.now)
    story.report()
    assert story.status.state == "disconnected"
    assert story.condition("Connected") == ("Unreachable", "127.0.0.1:1502 does not answer")
    assert story.reported("temperature") == "20.5"
    assert online <= story.status.last_online_time <= rfc3339(story.wall)
    for _ in range(100):
        story.now = min(story.now + 1, story.twin.report_deadline(story.now))
        story.twin.lost(f"another reason each time {story.now}", story.now)
        story.report()
    assert story.status.state == "offline"
    assert [status.state for status in story.writes] == ["ok", "disconnected", "offline"]
    story.connected()
    story.run(2)
    assert story.status.state == "ok"
    assert story.status.last_online_time > online


def test_a_device_that_was_never_there_is_offline(parts: Any) -> None:
    story = Story(parts, temperature={})
    assert story.report() is None
    story.twin.lost("refused", story.now)
    story.report()
    assert (story.status.state, story.status.twins, story.status.last_online_time) == ("offline", (), "")


def test_nonsense_is_unhealthy_until_a_whole_round_is_sound(parts: Any) -> None:
    story = Story(parts, temperature={}, setpoint={}, serial={"visitors": parts.visitor(2, scale=1)})
    asked = []
    for _ in range(9):  # it answers two properties, and garbles the third: the others still have their turn
        story.now += 0.7
        story.connected()
        while (task := story.twin.task(story.now)) is not None:
            assert isinstance(task, Read)
            names = [wired.name for wired in task.wired]
            asked += names
            if "serial" in names:
                story.twin.garbled("odd")
                break
            story.read(task)
        story.report()
        assert story.status.state == "unhealthy"
    assert set(asked) == {"temperature", "setpoint", "serial"}
    assert story.reported("setpoint") == "21"
    assert len(story.writes) <= 2


def test_a_property_without_a_value_leaves_the_others_alone(parts: Any) -> None:
    story = Story(parts, temperature={}, serial={"visitors": parts.visitor(2, scale=1)})
    task = story.twin.task(story.now)
    assert isinstance(task, Read)
    story.read(task, serial=PropertyError("exception 2"))
    story.report()
    assert story.status.state == "online"
    assert story.condition("ReadingsValid") == ("NotAsModelled", "serial: exception 2")
    assert [twin.property_name for twin in story.status.twins] == ["temperature"]


def test_a_reading_outside_its_limits_is_reported_and_said(parts: Any) -> None:
    story = Story(parts, setpoint={})
    story.registers["setpoint"] = Decimal(80)
    story.run(1)
    assert story.reported("setpoint") == "80"
    assert story.condition("ReadingsValid") == ("NotAsModelled", "setpoint: 80 is over its maximum 30")


def test_a_device_without_any_sound_property(parts: Any) -> None:
    story = Story(parts, humidity={})
    story.report()
    assert story.status.state == "unknown"
    assert story.condition("Configured")[0] == "WrongConfiguration"
    assert story.report() is None
    story.twin.rewire(story.wiring(temperature={}), story.now)
    story.now += STATE_GAP_S
    story.run(1)
    assert story.status.state == "ok"


def test_a_property_that_moved_forgets_its_reading(parts: Any) -> None:
    story = Story(parts, temperature={}, setpoint={})
    task = story.twin.task(story.now)
    assert isinstance(task, Read)
    story.twin.rewire(story.wiring(temperature={"visitors": parts.visitor(9)}), story.now)
    story.read(task, temperature=Sample(Decimal(99)))  # from the old register
    story.run(2)
    assert story.reported("temperature") == "20.5"
    assert len(story.status.twins) == 1


changes = st.lists(
    st.tuples(st.sampled_from(["turn", "desire", "lost", "garbled", "back"]), st.integers(50, 300), st.floats(0.01, 3)),
    max_size=25,
)


@given(changes)
def test_it_settles_on_what_is_true(parts: Any, changes: list[tuple[str, int, float]]) -> None:
    """Whatever happened: when the device is there again, reported is what it has, and the last desired value was written."""
    slow = {"collectCycle": 1000, "reportCycle": 1000}
    story = Story(parts, temperature=slow, setpoint=slow)
    desired, there = "", True
    for what, tenths, seconds in changes:
        value = Decimal(tenths) / 10
        if what == "turn":
            story.registers["temperature"] = value
        elif what == "desire":
            desired = str(value)
            story.twin.rewire(story.wiring(temperature=slow, setpoint={**slow, "desired": {"value": desired}}), story.now)
        elif what == "back":
            there = True
            story.connected()
        else:
            story.twin.task(story.now)  # in the middle of something
            story.twin.lost("away", story.now) if what == "lost" else story.twin.garbled("odd")
            there = False
        before = len(story.writes)
        if there:
            story.run(seconds)
        else:
            story.now += seconds
            story.report()
        assert len(story.writes) - before <= 2 + 2 * seconds
    story.connected()
    story.run(2 * AGAIN_CAP_S)
    assert story.status.state == "ok"
    assert story.reported("temperature") == to_text(story.registers["temperature"])
    if desired:
        assert story.observed("setpoint") == desired
        assert story.condition("DesiredApplied") == ("Applied", "")
    quiet = len(story.writes)
    story.run(OFFLINE_AFTER_S)
    assert len(story.writes) == quiet


def test_only_a_report_of_new_readings_may_be_lost(parts: Any) -> None:
    story = Story(parts, temperature={})
    story.run(150)
    first = story.writes[0]
    twin = DeviceTwin(story.wiring(temperature={}), DeviceStatus(), story.now, Random(1))
    assert not twin.volatile(first)
    twin.stored(first, story.now)
    assert twin.volatile(msgspec.structs.replace(first, last_online_time=rfc3339(WALL)))
    assert not twin.volatile(msgspec.structs.replace(first, state="offline"))


def test_what_a_device_says_by_itself_is_not_read(parts: Any) -> None:
    story = Story(parts, temperature={}, setpoint={})
    wired = {each.name: each for each in story.twin.wiring.properties}
    story.twin.connected(story.now, story.wall, {wired["temperature"].point})
    story.run(5)
    assert "read temperature" not in story.log
    assert story.status.state == "ok"
    story.twin.heard([(wired["temperature"].point, Sample(Decimal(19), WALL - 60))], story.now, story.wall)
    story.twin.heard([(wired["setpoint"].point, Sample(Decimal(99)))], story.now, story.wall)  # nobody listens to that
    story.run(5)
    assert (story.reported("temperature"), story.reported("setpoint")) == ("19", "21")
    assert story.status.twins[0].reported.metadata["timestamp"] == str(int((WALL - 60) * 1000))  # the device's own time


def test_what_was_lost_of_what_a_device_says_is_an_event(parts: Any) -> None:
    story = Story(parts, temperature={}, setpoint={})
    points = [each.point for each in story.twin.wiring.properties]
    story.twin.connected(story.now, story.wall, set(points))
    story.twin.heard([(point, Sample(Decimal(19))) for point in points], story.now, story.wall)
    assert story.twin.notes() == []
    story.twin.heard([(point, Sample(Decimal(20), gap=True)) for point in points], story.now, story.wall)
    message = "temperature, setpoint: changes were lost; the device kept no more of them for this node"
    assert story.twin.notes() == [Note("ReadingsLost", message, trouble=True)]


def test_a_device_that_only_speaks_by_itself_answers_when_it_is_listened_to(parts: Any) -> None:
    story = Story(parts, temperature={})
    story.twin.connected(story.now, story.wall, {story.twin.wiring.properties[0].point})
    assert story.twin.answers
    assert story.twin.task(story.now) is None


def test_readings_are_what_the_strategy_takes(parts: Any) -> None:
    story = Story(
        parts,
        temperature={"deadband": "0.5", "collectCycle": 1000},
        setpoint={"reportStrategy": "OnPeriod", "collectCycle": 1000, "reportCycle": 1000},
    )
    for value in ("20", "20.4", "20.6", "20.2", "20"):
        story.registers["temperature"] = Decimal(value)
        story.run(1)
    found = story.twin.readings()
    assert [each.value for each in found if each.property == "temperature"] == ["20", "20.6", "20"]
    assert len([each for each in found if each.property == "setpoint"]) in {5, 6}
    assert found[0].type == "float"
    assert [each.time for each in found] == sorted(each.time for each in found)
    assert story.twin.readings() == []


def test_values_of_one_millisecond_have_times_of_their_own(parts: Any) -> None:
    """Some targets know a reading by its property and time: another of the same time would be in its place."""
    story = Story(parts)
    story.connected()
    task = story.twin.task(story.now)
    assert isinstance(task, Read)
    for celsius in range(3):
        story.read(task, temperature=Sample(Decimal(celsius)))
    found = [(each.value, each.time) for each in story.twin.readings() if each.property == "temperature"]
    first = round(story.wall * 1000)
    assert found == [("0", first), ("1", first + 1), ("2", first + 2)]


def test_values_have_versions(parts: Any) -> None:
    story = Story(parts, setpoint={"collectCycle": 1000, "desired": {"value": "22"}})
    story.run(3)
    (twin,) = story.status.twins
    assert [each.metadata["version"] for each in (twin.reported, twin.observed_desired)] == ["1", "1"]
    story.twin.rewire(story.wiring(setpoint={"collectCycle": 1000, "desired": {"value": "23"}}), story.now)
    story.run(3)
    story.run(REFRESH_S)
    (twin,) = story.status.twins
    assert [each.metadata["version"] for each in (twin.reported, twin.observed_desired)] == ["2", "2"]
    again = Story(parts, story.status, setpoint={"collectCycle": 1000, "desired": {"value": "23"}})
    again.run(3)
    assert again.reported("setpoint") == "21"
    assert again.status.twins[0].reported.metadata["version"] == "3"


def test_what_becomes_of_desired_values_is_told(parts: Any) -> None:
    story = Story(parts, setpoint={"desired": {"value": "22"}}, heating={"desired": {"value": "hot"}})
    story.run(1)
    refusal = 'heating: expected true or false, got "hot"'
    assert story.twin.notes() == [
        Note("DesiredRefused", refusal, trouble=True),
        Note("DesiredApplied", "setpoint is 22"),
    ]
    story.clamp = Decimal(20)
    story.twin.rewire(story.wiring(setpoint={"desired": {"value": "25"}}, heating={"desired": {"value": "hot"}}), story.now)
    story.act()
    assert story.twin.notes() == [Note("DesiredNotTaken", "setpoint: 25 was written, 20 reads back", trouble=True)]


def test_a_device_says_how_often_its_state_is_reported(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000})
    story.twin.rewire(story.twin.wiring._replace(refresh_s=60.0), story.now)
    story.run(300)
    assert len(story.writes) in {5, 6}
    assert story.twin.volatile(story.writes[-1])


def computed(parts: Any, **properties: Any) -> Any:
    """A story of a device whose model computes `mean`, of two others, and has alarms."""

    class Computing(Story):
        def wiring(self, **properties: Any) -> Wiring:
            def change(model: dict[str, Any]) -> None:
                by_name = {each["name"]: each for each in model["spec"]["properties"]}
                hot = {"name": "hot", "above": "25", "hysteresis": "1", "delaySeconds": 2, "severity": "critical"}
                by_name["temperature"]["alarms"] = [hot]
                model["spec"]["properties"].append(
                    {"name": "mean", "type": "FLOAT", "expression": "(temperature + setpoint) / 2", "maximum": "100"}
                )

            return wire(self.parts.device(**properties), self.parts.model(change), Mappers(Path()).find)

    return Computing(parts, **properties)


EACH_SECOND = {"collectCycle": 1000, "reportCycle": 1000}


def test_a_property_that_is_computed(parts: Any) -> None:
    story = computed(parts, temperature=EACH_SECOND, setpoint=EACH_SECOND)
    story.run(2)
    assert (story.reported("mean"), story.status.state) == ("20.75", "ok")
    assert "read mean" not in story.log
    story.registers["setpoint"] = Decimal(22)
    story.run(2)
    assert story.reported("mean") == "21.25"
    assert [each.value for each in story.twin.readings() if each.property == "mean"] == ["20.75", "21.25"]


def test_a_computed_property_whose_input_has_no_value(parts: Any) -> None:
    story = computed(parts, temperature=EACH_SECOND, setpoint=EACH_SECOND)
    task = story.twin.task(story.now)
    assert isinstance(task, Read)
    story.read(task, setpoint=PropertyError("exception 2"))
    story.report()
    assert story.condition("ReadingsValid")[1] == "setpoint: exception 2; mean: setpoint has no value"
    assert story.status.state == "online"
    story.run(3)
    assert (story.reported("mean"), story.status.state) == ("20.75", "ok")


def test_an_alarm_is_raised_after_its_delay_and_cleared(parts: Any) -> None:
    story = computed(parts, temperature=EACH_SECOND)
    story.run(2)
    assert story.condition("Alarm.temperature.hot") == ("Critical", "")
    story.registers["temperature"] = Decimal(26)
    story.run(1.5)
    assert story.twin.notes() == []
    story.run(4)
    raised = Note("AlarmRaised", "hot (critical): temperature is 26, the limit is above 25", trouble=True)
    assert story.twin.notes() == [raised]
    assert story.condition("Alarm.temperature.hot") == ("Critical", "is 26, the limit is above 25")
    quiet = len(story.writes)
    story.run(60)
    assert len(story.writes) == quiet
    again = computed(parts, temperature=EACH_SECOND)
    again.twin = DeviceTwin(again.wiring(temperature=EACH_SECOND), story.status, again.now, Random(1))
    again.registers["temperature"] = Decimal("24.5")  # not back by its hysteresis
    again.run(10)
    assert again.twin.notes() == []  # it was said before the restart
    again.registers["temperature"] = Decimal(24)
    again.run(3)
    cleared = Note("AlarmCleared", "hot (critical): temperature is 24, the limit is above 25")
    assert again.twin.notes() == [cleared]
    assert next(each.status for each in again.status.conditions if each.type == "Alarm.temperature.hot") == "False"
