"""Dialogues with a twin on a made-up clock."""

from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.mapper import mapper_for
from edged.device.report import rfc3339
from edged.device.twin import AGAIN_CAP_S, OFFLINE_AFTER_S, REFRESH_S, STATE_GAP_S, DeviceTwin, Read, Write
from edged.device.values import Value, to_text
from edged.device.wiring import Wiring, wire
from edged.model.devices import DeviceStatus

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
        return wire(self.parts.device(**properties), self.parts.model(), mapper_for)

    @property
    def wall(self) -> float:
        return WALL + self.now

    def act(self) -> None:
        """Do all that is due, at once."""
        while (task := self.twin.task(self.now)) is not None:
            name = task.wired.name
            if isinstance(task, Read):
                self.log.append(f"read {name}")
                self.twin.read(task, self.registers[name], self.wall)
            else:
                self.log.append(f"write {name} {to_text(task.desired.value)}")
                self.registers[name] = self.clamp or task.desired.value
                self.twin.written(task, self.registers[name], self.now, self.wall)

    def report(self) -> DeviceStatus | None:
        found = self.twin.status(self.now, self.wall)
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
    story.twin.connected(story.now)
    story.act()
    found = story.report()
    assert found is not None
    assert (found.state, found.last_online_time) == ("ok", rfc3339(WALL + 100))
    (twin,) = found.twins
    assert (twin.property_name, twin.reported.value) == ("temperature", "20.5")
    assert twin.reported.metadata == {"timestamp": "1700000100000", "type": "float"}


def test_reads_keep_their_cycles_without_drift(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000}, setpoint={"collectCycle": 250})
    for _ in range(200):
        story.now += 0.051  # the shell is never on time
        story.act()
    assert story.log.count("read temperature") == 11
    assert story.log.count("read setpoint") == 41


def test_missed_cycles_are_not_made_up_for(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000})
    story.act()
    story.now += 10.3
    story.act()
    assert story.log == ["read temperature"] * 2
    assert story.twin.deadline() == pytest.approx(111)


def test_an_unchanged_value_is_stored_once_and_refreshed_rarely(parts: Any) -> None:
    story = Story(parts, temperature={"collectCycle": 1000, "reportCycle": 1000})
    story.run(REFRESH_S - 1)
    assert len(story.writes) == 1
    story.run(REFRESH_S)
    assert len(story.writes) == 2
    stamps = [int(status.twins[0].reported.metadata["timestamp"]) for status in story.writes]
    assert stamps[1] - stamps[0] == REFRESH_S * 1000


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
    assert story.reported("temperature") == "18"  # read at 18.0 s: the next is due at 20


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
    story.twin.written(task, Decimal(22), story.now, story.wall)  # came too late to be the last word
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
    story.twin.connected(story.now)
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
    story.twin.connected(story.now)
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
    assert (story.reported("temperature"), story.status.last_online_time) == ("20.5", rfc3339(story.wall))
    for _ in range(100):
        story.now = min(story.now + 1, story.twin.report_deadline(story.now))
        story.twin.lost(f"another reason each time {story.now}", story.now)
        story.report()
    assert story.status.state == "offline"
    assert [status.state for status in story.writes] == ["ok", "disconnected", "offline"]
    story.twin.connected(story.now)
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
        story.twin.connected(story.now)
        for _ in range(3):
            task = story.twin.task(story.now)
            assert isinstance(task, Read)
            asked.append(task.wired.name)
            if task.wired.name == "serial":
                story.twin.garbled("odd")
                break
            story.twin.read(task, story.registers[task.wired.name], story.wall)
        story.report()
        assert story.status.state == "unhealthy"
    assert set(asked) == {"temperature", "setpoint", "serial"}
    assert story.reported("setpoint") == "21"
    assert len(story.writes) <= 2


def test_a_property_without_a_value_leaves_the_others_alone(parts: Any) -> None:
    story = Story(parts, temperature={}, serial={"visitors": parts.visitor(2, scale=1)})
    for _ in range(2):
        task = story.twin.task(story.now)
        assert isinstance(task, Read)
        if task.wired.name == "serial":
            story.twin.unread(task, "exception 2", story.wall)
        else:
            story.twin.read(task, Decimal(20), story.wall)
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
    story.twin.read(task, Decimal(99), story.wall)  # from the old register
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
            story.twin.connected(story.now)
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
    story.twin.connected(story.now)
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
