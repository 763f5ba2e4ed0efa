from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from edged.device import reporter
from edged.device.external import Told
from edged.device.intake import Intake
from edged.errors import StorageError
from edged.model.devices import Device
from edged.model.objects import dump, key
from edged.store.writes import PutStatus

MQTT = {"protocolName": "mqtt"}
WORDS = "is 26, the limit is above 25"


async def served(fleet: Any, parts: Any, nursery: trio.Nursery, **temperature: Any) -> Intake:
    await fleet.apply(parts.device_json(protocol=MQTT, temperature={"visitors": {}, **temperature}, setpoint={"visitors": {}}))
    devices = fleet.devices()
    await nursery.start(devices.run)
    found = devices.intake("default", "thermometer")
    assert isinstance(found, Intake)
    return found


async def test_a_disk_that_refuses_is_said_and_asked_again(
    fleet_of_devices: Any, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of_devices
    monkeypatch.setattr(reporter, "STORE_AGAIN_S", 0.05)
    database = fleet.store._disk.writer
    async with trio.open_nursery() as nursery:
        made = await served(fleet, parts, nursery)
        await fleet.until(lambda: fleet.condition("Configured")[0] == "True")
        database.pragma("query_only", True)
        with pytest.raises(StorageError):
            await made.told([made.check({"temperature": Told("20")})])
        database.pragma("query_only", False)
        await fleet.until(lambda: fleet.value("temperature") == "20")
        nursery.cancel_scope.cancel()


async def test_what_another_writes_into_the_status_is_answered(fleet_of_devices: Any, parts: Any) -> None:
    fleet = fleet_of_devices
    async with trio.open_nursery() as nursery:
        made = await served(fleet, parts, nursery)
        await made.told([made.check({"temperature": Told("20")})])
        here = fleet.status()
        lost = msgspec.structs.replace(here, state="unknown")
        await fleet.store.write(PutStatus(key(Device, "thermometer", "default"), dump(lost)))
        await fleet.until(lambda: fleet.status().state == here.state)
        nursery.cancel_scope.cancel()


async def test_statuses_of_many_devices_are_one_commit(
    fleet_of_devices: Any, parts: Any, autojump_clock: trio.testing.MockClock
) -> None:
    fleet, names, stored = fleet_of_devices, ["a", "b", "c"], []
    for name in names:
        await fleet.apply(parts.device_json(name=name, protocol=MQTT, temperature={"visitors": {}}, setpoint={"visitors": {}}))
    async with trio.open_nursery() as nursery:
        devices = fleet.devices()
        await nursery.start(devices.run)
        await trio.sleep_until(10 * reporter.TOGETHER_S)
        begin = fleet.store.revision
        for name in names:
            await trio.sleep(reporter.TOGETHER_S / 5)
            made = devices.intake("default", name)
            made.hear(made.check({"temperature": Told("20")}))
        while len(stored) < len(names):
            await fleet.store.changed(fleet.store.revision)
            stored = fleet.store.changes(begin)
        assert trio.current_time() == 11 * reporter.TOGETHER_S
        assert sorted(each.object.key.name for each in stored) == names
        nursery.cancel_scope.cancel()


async def test_an_alarm_is_raised_when_its_delay_is_over_though_nothing_more_is_told(fleet_of_devices: Any, parts: Any) -> None:
    fleet, alarm = fleet_of_devices, {"name": "hot", "above": "25", "delaySeconds": 0.2}
    async with trio.open_nursery() as nursery:
        made = await served(fleet, parts, nursery, alarms=[alarm])
        await made.told([made.check({"temperature": Told("26")})])
        await fleet.until(lambda: fleet.condition("Alarm.temperature.hot") == ("True", "Warning", WORDS))
        await fleet.until(lambda: ("Warning", "AlarmRaised", f"hot (warning): temperature {WORDS}") in fleet.events())
        nursery.cancel_scope.cancel()


async def test_a_desired_value_that_is_told_back_is_an_event(fleet_of_devices: Any, parts: Any) -> None:
    fleet = fleet_of_devices
    async with trio.open_nursery() as nursery:
        made = await served(fleet, parts, nursery)
        await fleet.apply(parts.device_json(protocol=MQTT, setpoint={"visitors": {}, "desired": {"value": "21"}}))
        await fleet.until(lambda: fleet.condition("Configured")[0] == "True")
        await made.told([made.check({"setpoint": Told("21")})])
        await fleet.until(lambda: ("Normal", "DesiredApplied", "setpoint is 21") in fleet.events())
        nursery.cancel_scope.cancel()
