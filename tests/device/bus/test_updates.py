import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from edged.device.bus.payloads import Failure, Update, Version
from edged.device.bus.updates import Check, Plan, newer, plan, told_only
from edged.device.external import External, Told
from edged.device.mapper import Sample
from edged.device.wiring import Wiring, told, wire
from edged.errors import InvalidError
from edged.model.devices import Device
from edged.model.objects import Key, Object, dump

MQTT = {"protocolName": "mqtt"}
READ = "a mapper reads its values"


class Bench:
    def __init__(self, parts: Any, **setpoint: Any) -> None:
        self.parts = parts
        properties = {"temperature": {"visitors": {}}, "setpoint": {"visitors": {}, **setpoint}}
        value = parts.device_json(protocol=MQTT, **properties)
        self.stored = Object(Key("devices", "default", "thermometer"), 7, "uid", dump(value), None)
        self.device = parts.device(protocol=MQTT, **properties)
        self.wired = {each.name: each for each in self.wire(self.device).properties}

    def wire(self, device: Device) -> Wiring:
        return wire(device, self.parts.model(), lambda _: External())

    def check(self, values: Mapping[str, Told]) -> dict[str, Sample]:
        return told(self.wired, values)

    def plan(self, *updates: Update, check: Check | None = None) -> Plan:
        return plan(self.stored, self.device, self.wire, check or self.check, updates, 9)


def desired(made: Plan) -> dict[str, Any]:
    assert made.body is not None
    return {each["name"]: each.get("desired") for each in json.loads(made.body)["spec"]["properties"]}


def update(number: int = 1, **values: Any) -> Update:
    return Update(
        str(number), values.get("expected", {}), {name: Told(value) for name, value in values.get("actual", {}).items()}
    )


def test_a_desired_value_goes_into_the_device(parts: Any) -> None:
    made = Bench(parts).plan(update(expected={"setpoint": "21"}))
    wanted = {"timestamp": "9", "type": "float", "cloudVersion": "0", "version": "1"}
    assert desired(made) == {"temperature": None, "setpoint": {"value": "21", "metadata": wanted}}
    view = {"expected": {"value": "21", "metadata": {"timestamp": 9}}, "optional": True, "metadata": {"type": "float"}}
    assert made.outcomes == [{"setpoint": view}]


def test_many_updates_are_one_body_and_the_last_wins(parts: Any) -> None:
    made = Bench(parts).plan(*(update(number, expected={"setpoint": str(number)}) for number in range(10, 20)))
    assert desired(made)["setpoint"]["value"] == "19"
    assert desired(made)["setpoint"]["metadata"]["version"] == "10"
    assert [each["setpoint"]["expected"]["value"] for each in made.outcomes if isinstance(each, dict)] == [  # type: ignore[index]
        str(number) for number in range(10, 20)
    ]


def test_a_wrong_update_changes_nothing_of_the_others(parts: Any) -> None:
    made = Bench(parts).plan(
        update(1, expected={"setpoint": "21"}),
        update(2, expected={"setpoint": "99"}),
        update(3, expected={"temperature": "1"}),
        update(4, expected={"humidity": "1"}),
        update(5, expected={"setpoint": "22"}, actual={"setpoint": "warm"}),
    )
    assert desired(made)["setpoint"]["value"] == "21"
    reasons = [each.reason for each in made.outcomes if isinstance(each, Failure)]
    assert reasons[0] == "setpoint: 99 is over its maximum 30"
    assert "accessMode ReadOnly" in reasons[1]
    assert reasons[2] == 'the device has no property "humidity"'
    assert reasons[3].startswith("setpoint: expected a number")
    assert made.told == []


def test_null_takes_a_desired_value_away(parts: Any) -> None:
    made = Bench(parts, desired={"value": "21"}).plan(update(expected={"setpoint": None}))
    assert desired(made)["setpoint"] is None
    assert made.outcomes == [{"setpoint": None}]


def test_values_of_a_device_that_is_read_are_not_told(parts: Any) -> None:
    def refuse(_: Mapping[str, Told]) -> dict[str, Sample]:
        raise InvalidError(READ)

    made = Bench(parts).plan(update(actual={"temperature": "20"}), check=refuse)
    assert made == Plan(None, [], [Failure(400, READ)])


def test_both_at_once(parts: Any) -> None:
    made = Bench(parts).plan(update(expected={"setpoint": "21"}, actual={"setpoint": "20"}))
    assert (desired(made)["setpoint"]["value"], made.told) == ("21", [{"setpoint": Sample(Decimal(20))}])
    (outcome,) = made.outcomes
    assert isinstance(outcome, dict)
    assert set(outcome["setpoint"] or {}) == {"expected", "actual", "optional", "metadata"}


def test_what_is_told_only_leaves_the_device_as_it_is(parts: Any) -> None:
    updates = [update(1, actual={"temperature": "20"}), update(2, actual={"temperature": "cold"})]
    bench = Bench(parts)
    made = told_only(bench.check, bench.wired, updates, 9)
    assert (made.body, made.told) == (None, [{"temperature": Sample(Decimal(20))}])
    assert isinstance(made.outcomes[1], Failure)


def test_an_older_version_of_the_cloud_is_not_taken(parts: Any) -> None:
    metadata = {"version": "3", "cloudVersion": "2"}
    bench = Bench(parts, desired={"value": "21", "metadata": metadata})
    for version, taken in (((2, 3), True), ((3, 4), True), ((1, 3), False), ((2, 2), False)):
        told = Update("1", {"setpoint": "22"}, {}, {"setpoint": Version(*version)})
        found, refused = newer(bench.device, told)
        assert (found.expected, refused) == (({"setpoint": "22"}, []) if taken else ({}, ["setpoint"]))
        if taken:
            after = desired(bench.plan(found))["setpoint"]["metadata"]
            assert (after["cloudVersion"], after["version"]) == (str(version[0]), str(version[1]))
    assert newer(bench.device, Update("1", {"setpoint": "22"}, {}))[1] == ["setpoint"]
