from typing import Any

import pytest
import trio

from edged.device import intake
from edged.device.external import Told
from edged.errors import InvalidError

MQTT = {"protocolName": "mqtt"}


async def served(fleet: Any, nursery: trio.Nursery) -> intake.Intake:
    devices = fleet.devices()
    await nursery.start(devices.run)
    found = devices.intake("default", "thermometer")
    assert isinstance(found, intake.Intake)
    return found


def manifest(parts: Any, protocol: dict[str, Any] = MQTT, **setpoint: Any) -> dict[str, Any]:
    value: dict[str, Any] = parts.device_json(
        protocol=protocol, temperature={"visitors": {}}, setpoint={"visitors": {}, **setpoint}
    )
    return value


async def test_what_is_told_is_in_the_store_and_read_once(fleet_of_devices: Any, parts: Any) -> None:
    fleet = fleet_of_devices
    await fleet.apply(manifest(parts))
    async with trio.open_nursery() as nursery:
        made = await served(fleet, nursery)
        await made.told([made.check({"temperature": Told(text)}) for text in ("20", "21")])
        assert fleet.value("temperature") == "21"
        assert [each.value for _, each in fleet.readings] == ["20", "21"]
        with pytest.raises(InvalidError):
            made.check({"temperature": Told("warm")})
        await made.say("offline")
        assert fleet.status().state == "offline"
        nursery.cancel_scope.cancel()


async def test_mistakes_and_wishes_are_told_without_anything_being_told(fleet_of_devices: Any, parts: Any) -> None:
    fleet = fleet_of_devices
    await fleet.apply(manifest(parts, {"protocolName": "bacnet"}))
    async with trio.open_nursery() as nursery:
        made = await served(fleet, nursery)
        await fleet.until(lambda: fleet.condition("Configured")[0] == "False")
        assert '"bacnet" is no protocol that this node speaks' in fleet.condition("Configured")[2]
        assert fleet.status().state == "unknown"
        await made.told([made.check({"setpoint": Told("20")})])
        await fleet.apply(manifest(parts, desired={"value": "21"}))
        await fleet.until(lambda: fleet.condition("DesiredApplied")[2] == "setpoint: 21 waits to be told back")
        assert fleet.condition("Configured")[0] == "True"
        nursery.cancel_scope.cancel()


async def test_a_device_that_is_read_from_now_on(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet = fleet_of_devices
    await fleet.apply(manifest(parts))
    async with hostile(bank(r0=205).answer) as port, trio.open_nursery() as nursery:
        devices = fleet.devices()
        await nursery.start(devices.run)
        assert devices.told_by_anybody("default", "thermometer")
        await fleet.apply(parts.device_json(port=port, temperature={}))
        await fleet.until(lambda: fleet.value("temperature") == "20.5")
        assert devices.intake("default", "thermometer") is None
        nursery.cancel_scope.cancel()
