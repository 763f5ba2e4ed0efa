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
