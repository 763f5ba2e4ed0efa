import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from edged.device.bus.client import Publish
from edged.model.devices import Device
from edged.model.objects import key, typed
from edged.store.writes import Delete
from tests.device.broker import Mosquitto, in_time

pytestmark = pytest.mark.tool("mosquitto")
LAMP = "$hw/events/device/default/lamp"
Talks = Callable[[Mosquitto], Any]


def desired(talk: Any, name: str = "lamp") -> dict[str, str]:
    device = typed(talk.fleet.store.get(key(Device, name, "default")), Device)
    return {each.name: each.desired.value for each in device.spec.properties}


@in_time
async def test_what_is_told_is_stored_before_it_is_answered(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        held = talk.fleet.store.held()[talk.fleet.store.origin]
        answer = await talk.ask(f"{LAMP}/twin/update", event_id="1", twin={"temperature": {"actual": {"value": "20.5"}}})
        assert talk.fleet.store.held()[talk.fleet.store.origin] > held
        assert (answer["event_id"], answer["twin"]["temperature"]["actual"]["value"]) == ("1", "20.5")
        assert talk.fleet.value("temperature", "lamp") == "20.5"
        assert [(name, each.value) for name, each in talk.fleet.readings] == [("default/lamp", "20.5")]
        assert talk.fleet.status("lamp").state == "ok"


@in_time
async def test_what_should_be_is_told_to_whoever_tells_the_values(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        await talk.say(f"{LAMP}/twin/update", event_id="1", twin={"setpoint": {"expected": {"value": "21"}}})
        (delta,) = await talk.hear(f"{LAMP}/twin/update/delta")
        assert delta["delta"] == {"setpoint": "21"}
        assert desired(talk)["setpoint"] == "21"
        await talk.say(f"{LAMP}/twin/update", event_id="2", twin={"setpoint": {"actual": {"value": "21"}}})
        await talk.until(lambda: talk.fleet.condition("DesiredApplied", "lamp")[0] == "True")
        got = await talk.ask(f"{LAMP}/twin/get", event_id="3")
        assert got["twin"]["setpoint"]["expected"]["value"] == got["twin"]["setpoint"]["actual"]["value"] == "21"


@in_time
async def test_what_cannot_be_done_is_answered_with_the_reason(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        await talk.apply("read", protocol="modbus-tcp", temperature={})
        await talk.until(lambda: talk.fleet.status("read").state != "")
        told = {"temperature": {"actual": {"value": "1"}}}
        for device, twin, code, reason in (
            ("lamp", {"setpoint": {"expected": {"value": "99"}}}, 400, "setpoint: 99 is over its maximum 30"),
            ("lamp", {"temperature": {"actual": {"value": "warm"}}}, 400, "temperature: expected a number"),
            ("lamp", {"a b": None}, 400, '"a b": expected 1 to 128 letters'),
            ("nobody", told, 404, "there is no device default/nobody"),
            ("read", told, 400, "a mapper reads the values of this device (modbus-tcp)"),
        ):
            answer = await talk.ask(f"$hw/events/device/default/{device}/twin/update", event_id="1", twin=twin)
            assert answer["code"] == code
            assert answer["reason"].startswith(reason)


@in_time
async def test_a_window_of_updates_is_answered_in_order_and_written_together(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        revision = talk.fleet.store.revision
        updates = [{"event_id": str(n), "twin": {"temperature": {"actual": {"value": str(n)}}}} for n in range(2000)]
        heard: list[dict[str, Any]] = []
        async with trio.open_nursery() as nursery:
            sent = [Publish(f"{LAMP}/twin/update", json.dumps(each).encode()) for each in updates]
            nursery.start_soon(talk.app.publish_all, sent)
            heard = await talk.hear(f"{LAMP}/twin/update/result", len(updates))
        assert [each["event_id"] for each in heard] == [str(n) for n in range(2000)]
        assert talk.fleet.value("temperature", "lamp") == "1999"
        assert talk.fleet.store.revision - revision < len(updates) / 2
        assert [each.value for _, each in talk.fleet.readings] == [str(n) for n in range(2000)]


@in_time
async def test_what_is_computed_from_what_is_told_is_in_the_twin(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        model = json.loads(json.dumps(talk.fleet.parts.MODEL))
        model["spec"]["properties"].append({"name": "gap", "type": "FLOAT", "expression": "setpoint - temperature"})
        await talk.fleet.apply(model)
        await talk.until(lambda: bool(talk.devices.intake("default", "lamp").wiring.computed))
        twin = {"temperature": {"actual": {"value": "20"}}, "setpoint": {"actual": {"value": "21.5"}}}
        await talk.say(f"{LAMP}/twin/update", event_id="1", twin=twin)
        (told,) = await talk.hear(f"{LAMP}/twin/update/document")
        assert told["twin"]["gap"]["current"]["actual"]["value"] == "1.5"
        found = await talk.ask(f"{LAMP}/twin/get", event_id="2")
        assert found["twin"]["gap"]["actual"]["value"] == "1.5"
        assert [(each.property, each.value) for _, each in talk.fleet.readings][-1] == ("gap", "1.5")


@in_time
async def test_states_are_told_and_asked(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        answer = await talk.ask(f"{LAMP}/state/update", event_id="1", state="offline")
        assert (answer["device"]["name"], answer["device"]["state"]) == ("lamp", "offline")
        assert talk.fleet.status("lamp").state == "offline"
        assert (await talk.ask(f"{LAMP}/state/get", event_id="2"))["device"]["state"] == "offline"
        assert (await talk.ask(f"{LAMP}/state/update", event_id="3", state="well"))["code"] == 400


@in_time
async def test_what_the_cloud_wants_is_taken_when_it_is_not_older(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        twin = {"setpoint": {"expected": {"value": "21"}, "expected_version": {"cloud": 2, "edge": 0}}}
        await talk.say(f"{LAMP}/twin/cloud_updated", event_id="1", twin=twin)
        await talk.until(lambda: desired(talk)["setpoint"] == "21")
        old = {"setpoint": {"expected": {"value": "22"}, "expected_version": {"cloud": 1, "edge": 0}}}
        await talk.say(f"{LAMP}/twin/cloud_updated", event_id="2", twin=old)
        while "expected_version" not in (heard := (await talk.hear(f"{LAMP}/twin/edge_updated"))[0])["twin"].get(
            "setpoint", {}
        ):
            pass
        assert heard["twin"]["setpoint"]["expected_version"]["cloud"] == 2
        assert desired(talk)["setpoint"] == "21"


@in_time
async def test_readings_of_a_mapper_outside_cost_no_flash(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        await talk.ask(f"{LAMP}/twin/update", event_id="1", twin={"temperature": {"actual": {"value": "1"}}})
        held = talk.fleet.store.held()[talk.fleet.store.origin]
        topic = "$ke/events/device/default/lamp/data/update"
        await talk.say(topic, data={"temperature": {"value": "warm"}})
        await talk.say(topic, data={"temperature": {"value": "2", "metadata": {"timestamp": 1700000000000}}})
        await talk.until(lambda: talk.fleet.value("temperature", "lamp") == "2")
        assert talk.fleet.readings[-1][1].time == 1700000000000
        assert talk.fleet.store.held()[talk.fleet.store.origin] == held
        assert talk.fleet.log.getvalue().count("is not taken") == 1


@in_time
async def test_who_is_here(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        node = f"$hw/events/node/{talk.node}"
        assert [each["id"] for each in (await talk.ask(f"{node}/membership/get"))["devices"]] == ["default/lamp"]
        (member,) = (await talk.ask(f"{node}/membership/detail"))["devices"]
        assert set(member["twin"]) == {"temperature", "setpoint"}
        await talk.fleet.store.write(Delete(key(Device, "lamp", "default")))
        (changed,) = await talk.hear(f"{node}/membership/updated")
        assert [each["id"] for each in changed["removed_devices"]] == ["default/lamp"]
