from random import Random
from typing import Any

import pytest

from edged.device.external import External, Told, versions
from edged.device.readings import Reading
from edged.device.report import Note
from edged.device.twin import OFFLINE_AFTER_S, DeviceTwin
from edged.device.wiring import Wiring, told, wire
from edged.errors import InvalidError, UnreachableError
from edged.model.devices import DeviceStatus

MQTT = {"protocolName": "mqtt"}


class Story:
    """The twin of a device that is told, on a made-up clock."""

    def __init__(self, parts: Any, stored: DeviceStatus | None = None, **properties: Any) -> None:
        self.parts, self.now = parts, 1.0
        wired = self.wiring(**(properties or {"temperature": {}, "setpoint": {}}))
        self.twin = DeviceTwin(wired, stored or DeviceStatus(), self.now, Random(1))

    def wiring(self, model: Any = None, **properties: Any) -> Wiring:
        wired = {name: {"visitors": {}, **each} for name, each in properties.items()}
        return wire(
            self.parts.device(protocol=MQTT, **wired), self.parts.model(*([model] if model else [])), lambda _: External()
        )

    def tell(self, now: float, **values: str | Told) -> None:
        self.now = now
        wired = {each.name: each for each in self.twin.wiring.properties}
        samples = told(wired, {name: Told(each) if isinstance(each, str) else each for name, each in values.items()})
        self.twin.receive(samples, now, now)

    def say(self, now: float, state: str) -> None:
        self.now = now
        self.twin.say(state, now, now)

    @property
    def status(self) -> DeviceStatus:
        return self.twin.whole_status(self.now, self.now)

    def values(self) -> dict[str, str]:
        return {each.property_name: each.reported.value for each in self.status.twins}

    def condition(self, type_: str) -> tuple[str, str]:
        return next((each.status, each.message) for each in self.status.conditions if each.type == type_)


def test_nothing_is_known_before_anything_is_told(parts: Any) -> None:
    made = Story(parts)
    found = made.twin.status(2.0, 2.0)
    assert found is not None, "unlike a device that is read, it may stay so"
    assert (found.state, found.twins) == ("unknown", ())


def test_what_is_told_is_taken_and_read(parts: Any) -> None:
    made = Story(parts)
    made.tell(9.0, temperature=Told("20.50", 1700000000123), setpoint="21")
    assert made.values() == {"temperature": "20.5", "setpoint": "21"}
    assert made.twin.readings() == [
        Reading("temperature", "float", "20.5", 1700000000123),
        Reading("setpoint", "float", "21", 9000),
    ]
    assert (made.status.state, made.status.last_online_time) == ("ok", "1970-01-01T00:00:09Z")
    made.tell(10.0, temperature="20.5")
    assert made.twin.readings() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": "warm"}, "temperature: expected a number"),
        ({"setpoint": "31"}, "setpoint: 31 is over its maximum 30"),
        ({"humidity": "5"}, 'has no property "humidity"'),
    ],
)
def test_what_the_model_does_not_allow_is_refused_whole(parts: Any, values: dict[str, str], message: str) -> None:
    made = Story(parts)
    with pytest.raises(InvalidError, match=message):
        made.tell(9.0, **({"temperature": "1"} | values))
    assert made.values() == {}


def test_a_desired_value_is_applied_when_it_is_told_back(parts: Any) -> None:
    made = Story(parts, setpoint={"desired": {"value": "22"}})
    assert made.status.twins == ()
    made.tell(9.0, setpoint="21")
    assert made.condition("DesiredApplied") == ("False", "setpoint: 22 waits to be told back")
    assert made.twin.notes() == []
    made.tell(9.0, setpoint="22.0")
    assert made.condition("DesiredApplied")[0] == "True"
    assert made.twin.notes() == [Note("DesiredApplied", "setpoint is 22")]
    made.twin.rewire(made.wiring(setpoint={"desired": {"value": "23"}}), 9.0)
    assert made.condition("DesiredApplied") == ("False", "setpoint: 23 waits to be told back")


def test_a_desired_value_that_is_told_already_is_applied_at_once(parts: Any) -> None:
    made = Story(parts, setpoint={})
    made.tell(9.0, setpoint="22")
    wanted = {"setpoint": {"desired": {"value": "22.0"}}}
    for twin in (made, Story(parts, made.status, **wanted)):
        twin.twin.rewire(made.wiring(**wanted), 9.0)
        assert (twin.condition("DesiredApplied")[0], twin.status.twins[0].observed_desired.value) == ("True", "22.0")


def test_the_state_is_what_somebody_says_until_a_value_is_told(parts: Any) -> None:
    made = Story(parts)
    made.tell(9.0, setpoint="21")
    for state in ("offline", "disconnected", "unhealthy", "unknown"):
        made.say(10.0, state)
        assert made.status.state == state
    made.say(10.0, "offline")
    assert made.condition("Connected") == ("False", "whoever tells its values says offline")
    assert Story(parts, made.status).status.state == "offline"
    made.tell(12.0, setpoint="21")
    assert made.status.state == "ok"
    made.say(13.0, "disconnected")
    made.now += OFFLINE_AFTER_S
    assert made.status.state == "offline"
    made.say(64.0, "online")
    assert (made.status.state, made.status.last_online_time) == ("ok", "1970-01-01T00:01:04Z")


def test_it_goes_on_from_what_is_stored(parts: Any) -> None:
    made = Story(parts)
    made.tell(9.0, setpoint="21")
    again = Story(parts, made.status)
    assert again.status == made.status
    again.tell(9.0, setpoint="22")
    (reported,) = (each.reported for each in again.status.twins)
    assert versions(reported.metadata) == (0, 2)


def test_a_new_alarm_stands_by_what_was_told_before_it(parts: Any) -> None:
    made, hot = Story(parts, temperature={}), {"alarms": [{"name": "hot", "above": "25"}]}
    made.tell(9.0, temperature="26")
    for story in (made, Story(parts, made.status, temperature={})):
        story.twin.rewire(story.wiring(temperature=hot), 9.0)
        assert [(name, turn.on) for name, turn in story.twin.turns()] == [("temperature", True)]
        assert story.condition("Alarm.temperature.hot")[0] == "True"
    again = Story(parts, made.status, temperature=hot)
    assert again.twin.turns() == [], "it was said before this process began"


def test_alarms_and_formulas_hold_for_it(parts: Any) -> None:
    def model(value: dict[str, Any]) -> None:
        value["spec"]["properties"].append({"name": "gap", "type": "FLOAT", "expression": "setpoint - temperature"})

    hot = {"alarms": [{"name": "hot", "above": "25", "delaySeconds": 2}]}
    made = Story(parts)
    made.twin.rewire(made.wiring(model, temperature=hot, setpoint={}), 1.0)
    made.tell(9.0, setpoint="21")
    assert made.condition("ReadingsValid") == ("False", "gap: temperature has no value")
    made.tell(10.0, temperature="26")
    assert made.values()["gap"] == "-5"
    assert [each.property for each in made.twin.readings()] == ["setpoint", "temperature", "gap"]
    made.twin.stored(made.status, 10.0)
    assert made.twin.look_at <= 12.0, "nobody need tell it anything for the alarm to be raised"
    made.now = 12.0
    assert made.condition("Alarm.temperature.hot") == ("True", "is 26, the limit is above 25")
    assert [each.reason for each in made.twin.notes()] == ["AlarmRaised"]
    again = Story(parts, made.status)
    again.twin.rewire(again.wiring(model, temperature=hot, setpoint={}), 1.0)
    again.tell(13.0, setpoint="20")
    assert again.values()["gap"] == "-6", "the other value was told before this process began"


@pytest.mark.parametrize("text", ["", "-1", "x", "²", "9" * 30])
def test_versions_that_are_none_are_0(text: str) -> None:
    assert versions({"version": text, "cloudVersion": text}) == (0, 0)


async def test_nobody_connects_to_it() -> None:
    with pytest.raises(UnreachableError):
        await External().connect(None)
