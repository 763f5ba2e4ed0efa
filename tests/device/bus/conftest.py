import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from edged.device.bus.bus import Bus
from edged.device.bus.client import Broker, MqttConnection, connected
from edged.device.worker import Devices
from edged.kit.address import Address
from edged.kit.broker import BrokerSettings
from edged.kit.log import Log
from tests.device.broker import Mosquitto

PATIENCE_S = 30.0


class Talk:
    """A node with devices and a bus on a broker, and an application that talks to it. Every node has a name of its own."""

    def __init__(self, fleet: Any, broker: Mosquitto) -> None:
        self.fleet, self.broker = fleet, broker
        self.node = f"gw-{uuid.uuid4().hex[:8]}"
        self.devices: Devices = fleet.devices(self.node, take_alarm=lambda *turned: self.bus.take_alarm(*turned))  # noqa: PLW0108  it is made below
        settings = BrokerSettings(f"tcp://127.0.0.1:{broker.port}")
        self.bus = Bus(settings, fleet.store, self.devices, self.node, time.time, random.Random(3), Log(stream=fleet.log))
        self.app: MqttConnection
        self.serving: trio.CancelScope

    async def apply(self, name: str, *, protocol: str = "mqtt", **properties: Any) -> None:
        """A Device of this node with the model of all devices here."""
        of = {"protocol": {"protocolName": protocol, "configData": {}}, "node": self.node, "name": name}
        value = self.fleet.parts.device_json(**of, **{each: {"visitors": {}, **more} for each, more in properties.items()})
        await self.fleet.apply(value)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The bus, until `serving` is cancelled."""
        with trio.CancelScope() as self.serving:
            await self.bus.run(task_status=task_status)

    async def until(self, what: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not what():  # noqa: ASYNC110  what tests wait for has no events of its own
                await trio.sleep(0.01)

    async def say(self, topic: str, **payload: Any) -> None:
        await self.app.publish(topic, json.dumps(payload).encode())

    async def hear(self, topic: str, most: int = 1) -> list[dict[str, Any]]:
        """The next payloads of a topic; all other messages are thrown away."""
        found: list[dict[str, Any]] = []
        with trio.fail_after(PATIENCE_S):
            while len(found) < most:
                found += [json.loads(each.payload) for each in await self.app.receive() if each.topic == topic]
        return found

    async def ask(self, topic: str, **payload: Any) -> dict[str, Any]:
        """The answer to a question."""
        await self.say(topic, **payload)
        return (await self.hear(f"{topic}/result"))[0]


@pytest.fixture
def talks(fleet_of_devices: Any, parts: Any) -> Callable[[Mosquitto], Any]:
    """`async with talks(broker) as talk`."""
    fleet_of_devices.parts = parts

    @asynccontextmanager
    async def talks(broker: Mosquitto) -> AsyncIterator[Talk]:
        talk = Talk(fleet_of_devices, broker)
        async with trio.open_nursery() as nursery:
            await talk.apply("lamp", temperature={}, setpoint={})
            await nursery.start(talk.devices.run)
            await nursery.start(talk.serve)
            await talk.until(lambda: talk.bus.is_connected)
            async with connected(Broker(Address("127.0.0.1", broker.port)), f"app-{talk.node}") as talk.app:
                await talk.app.subscribe(["$hw/#", "$ke/#"])
                yield talk
            nursery.cancel_scope.cancel()

    return talks
