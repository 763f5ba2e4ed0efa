from collections.abc import Callable
from typing import Any

import pytest

from edged.device.bus.exchange import broker_of
from edged.device.readings import Reading
from edged.errors import UnreachableError
from edged.kit.broker import BrokerSettings
from tests.device.broker import Mosquitto, in_time

pytestmark = pytest.mark.tool("mosquitto")
Talks = Callable[[Mosquitto], Any]


@in_time
async def test_readings_of_devices_that_are_read_are_told_and_others_not_again(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        talk.bus.take("default", "lamp", [Reading("temperature", "float", "1", 5)])
        talk.bus.take("default", "read", [Reading("temperature", "float", "2", 5)])
        (heard,) = await talk.hear("$ke/events/device/default/read/data/update")
        assert heard["data"]["temperature"]["value"] == "2"
        assert talk.bus.dropped == 0


@in_time
async def test_alarms_of_all_devices_are_told(talks: Talks, mosquitto: Mosquitto) -> None:
    topic, hot = "$ke/events/device/default/{}/alarm", [{"name": "hot", "above": "25", "hysteresis": "1"}]
    async with talks(mosquitto) as talk:
        update = "$hw/events/device/default/lamp/twin/update"
        await talk.ask(update, twin={"temperature": {"actual": {"value": "26"}}})
        await talk.apply("lamp", temperature={"alarms": hot})
        (raised,) = await talk.hear(topic.format("lamp"))
        assert raised["alarm"] == {
            "property": "temperature",
            "name": "hot",
            "severity": "warning",
            "state": "raised",
            "value": "26",
            "above": "25",
            "message": "temperature is 26, the limit is above 25",
        }
        for value in ("24.5", "24"):
            await talk.say(update, twin={"temperature": {"actual": {"value": value}}})
        (cleared,) = await talk.hear(topic.format("lamp"))
        assert (cleared["alarm"]["state"], cleared["alarm"]["value"]) == ("cleared", "24")
        assert raised["event_id"] != cleared["event_id"]
        assert raised["timestamp"] <= cleared["timestamp"]
        config = {"visitors": {"configData": {"kind": "constant", "value": "30"}}}
        await talk.apply("boiler", protocol="virtual", temperature={**config, "alarms": hot})
        (raised,) = await talk.hear(topic.format("boiler"))
        assert raised["alarm"]["value"] == "30"


@in_time
async def test_the_node_comes_and_goes(talks: Talks, mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as first, talks(mosquitto) as talk:
        (came,) = await first.hear(f"$hw/events/connected/{talk.node}")
        assert came["event_type"] == "connected"


@in_time
async def test_a_password_that_cannot_be_read(tmp_path: Any) -> None:
    with pytest.raises(UnreachableError, match=r"the settings of the MQTT broker: .*nothing"):
        broker_of(BrokerSettings("tcp://127.0.0.1", "anna", str(tmp_path / "nothing")))
    password = tmp_path / "password"
    password.write_text("secret\n")
    assert broker_of(BrokerSettings("tcp://127.0.0.1", "anna", str(password))).password == "secret"  # noqa: S105  a made-up one
