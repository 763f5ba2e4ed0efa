from typing import Any

import pytest

from edged.device.external import External, ExternalTwin, Told, versions
from edged.device.wiring import wire
from edged.errors import InvalidError, UnreachableError
from edged.model.devices import DeviceStatus

MQTT = {"protocolName": "mqtt"}


def wiring(parts: Any, **properties: Any) -> Any:
    return wire(
        parts.device(protocol=MQTT, **{name: {"visitors": {}, **each} for name, each in properties.items()}),
        parts.model(),
        lambda _: External(),
    )


def twin(parts: Any, status: DeviceStatus | None = None, **properties: Any) -> ExternalTwin:
    return ExternalTwin(wiring(parts, **(properties or {"temperature": {}, "setpoint": {}})), status or DeviceStatus())


def values(made: ExternalTwin) -> dict[str, str]:
    return {each.property_name: each.reported.value for each in made.status(100.0).twins}


def condition(made: ExternalTwin, type_: str) -> tuple[str, str]:
    return next((each.status, each.message) for each in made.status(100.0).conditions if each.type == type_)


def test_nothing_is_known_before_anything_is_told(parts: Any) -> None:
    made = twin(parts)
    assert (made.status(100.0).state, made.status(100.0).twins) == ("unknown", ())


def test_what_is_told_is_taken_and_read(parts: Any) -> None:
    made = twin(parts)
    made.take({"temperature": Told("20.50", 7000), "setpoint": Told("21")}, 1.0, 9.0)
    assert values(made) == {"temperature": "20.5", "setpoint": "21"}
    assert [(each.property, each.value, each.time) for each in made.readings()] == [
        *[("temperature", "20.5", 7000), ("setpoint", "21", 9000)]
    ]
    assert (made.status(9.0).state, made.status(9.0).last_online_time) == ("ok", "1970-01-01T00:00:09Z")
    made.take({"temperature": Told("20.5")}, 2.0, 10.0)
    assert made.readings() == []


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"temperature": "warm"}, "temperature: expected a number"),
        ({"setpoint": "31"}, "setpoint: 31 is over its maximum 30"),
        ({"humidity": "5"}, 'has no property "humidity"'),
    ],
)
def test_what_the_model_does_not_allow_is_refused_whole(parts: Any, told: dict[str, str], message: str) -> None:
    made = twin(parts)
    with pytest.raises(InvalidError, match=message):
        made.take({"temperature": Told("1")} | {name: Told(value) for name, value in told.items()}, 1.0, 9.0)
    assert values(made) == {}


def test_a_desired_value_is_applied_when_it_is_told_back(parts: Any) -> None:
    made = twin(parts, setpoint={"desired": {"value": "22"}})
    assert made.status(1.0).twins == ()
    made.take({"setpoint": Told("21")}, 1.0, 9.0)
    assert condition(made, "DesiredApplied") == ("False", "setpoint: 22 waits to be told back")
    made.take({"setpoint": Told("22.0")}, 1.0, 9.0)
    assert condition(made, "DesiredApplied")[0] == "True"
    made.rewire(wiring(parts, setpoint={"desired": {"value": "23"}}))
    assert condition(made, "DesiredApplied") == ("False", "setpoint: 23 waits to be told back")


def test_the_state_is_what_somebody_says_until_a_value_is_told(parts: Any) -> None:
    made = twin(parts)
    made.take({"setpoint": Told("21")}, 1.0, 9.0)
    made.say("offline", 10.0)
    assert made.status(10.0).state == "offline"
    assert twin(parts, made.status(10.0)).status(11.0).state == "offline"
    made.take({"setpoint": Told("21")}, 2.0, 12.0)
    assert made.status(12.0).state == "ok"
    made.say("offline", 13.0)
    made.say("online", 14.0)
    assert (made.status(14.0).state, made.status(14.0).last_online_time) == ("ok", "1970-01-01T00:00:14Z")


def test_it_goes_on_from_what_is_stored(parts: Any) -> None:
    made = twin(parts)
    made.take({"setpoint": Told("21")}, 1.0, 9.0)
    again = twin(parts, made.status(9.0))
    assert again.status(9.0) == made.status(9.0)
    again.take({"setpoint": Told("22")}, 1.0, 9.0)
    (reported,) = (each.reported for each in again.status(9.0).twins)
    assert versions(reported.metadata) == (0, 2)


@pytest.mark.parametrize("text", ["", "-1", "x", "²", "9" * 30])
def test_versions_that_are_none_are_0(text: str) -> None:
    assert versions({"version": text, "cloudVersion": text}) == (0, 0)


async def test_nobody_connects_to_it() -> None:
    with pytest.raises(UnreachableError):
        await External().connect(None)
