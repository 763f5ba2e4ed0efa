import io
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from edged.device import poller, reporter
from edged.device.mapper import Mappers
from edged.device.poller import Poller
from edged.device.reporter import Outlets, Reporter
from edged.device.timer import Timer
from edged.device.wiring import Wiring, wire
from edged.kit.log import Log
from edged.model.devices import Device, DeviceStatus
from edged.model.objects import key
from edged.store.writes import Delete

SETPOINT = {"value": "22"}


def make(fleet: Any, parts: Any, **device: Any) -> tuple[Poller, io.StringIO]:
    stored = fleet.store.get(key(Device, "thermometer", "default"))
    log = io.StringIO()
    wiring = rewired(parts, **device)
    outlets = Outlets(fleet.store, fleet.take, fleet.take_alarm, fleet.recorder())
    chance = random.Random(1)
    speaker = Reporter(stored, wiring, DeviceStatus(), outlets, time.time, chance, Log(stream=log), Timer())
    return Poller(speaker, chance), log


async def run(one: Poller) -> None:
    """With its timer."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one._reporter.timer.run)
        await one.run()


def rewired(parts: Any, **device: Any) -> Wiring:
    return wire(parts.device(**device), parts.model(), Mappers(Path()).find)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "RETRY_CAP_S", 0.5)
    monkeypatch.setattr(reporter, "STORE_AGAIN_S", 0.05)


async def test_one_warning_while_a_device_is_away(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet, registers = fleet_of_devices, bank(r0=205)
    await fleet.apply(parts.device_json())
    tries = 0

    async def slam(stream: trio.SocketStream, request: bytes) -> None:
        nonlocal tries
        tries += 1
        if tries > 4:
            await registers.answer(stream, request)
        else:
            await stream.aclose()

    async with hostile(slam) as port, trio.open_nursery() as nursery:
        one, log = make(fleet, parts, port=port, temperature={})
        nursery.start_soon(run, one)
        await fleet.until(lambda: fleet.status().state == "offline")
        await fleet.until(lambda: fleet.status().state == "ok")
        nursery.cancel_scope.cancel()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["warning", "info"]
    assert "closes the connection instead of an answer; trying again" in lines[0]["message"]


async def test_a_new_desired_value_wakes_it(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet, registers = fleet_of_devices, bank(r0=205, r1=210)
    await fleet.apply(parts.device_json())
    slow = {"collectCycle": 3_600_000}
    async with hostile(registers.answer) as port, trio.open_nursery() as nursery:
        one, _ = make(fleet, parts, port=port, temperature=slow, setpoint=slow)
        nursery.start_soon(run, one)
        await fleet.until(lambda: fleet.status().state == "ok")
        one.rewire(rewired(parts, port=port, temperature=slow, setpoint={**slow, "desired": SETPOINT}))
        await fleet.until(lambda: fleet.condition("DesiredApplied") == ("True", "Applied", ""))
        nursery.cancel_scope.cancel()
    assert registers.written == [220]


async def test_a_register_that_can_only_be_written(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet, registers = fleet_of_devices, bank(r0=205, r1=210)
    registers.unreadable = {1}
    await fleet.apply(parts.device_json())
    async with hostile(registers.answer) as port, trio.open_nursery() as nursery:
        one, _ = make(fleet, parts, port=port, temperature={}, setpoint={"desired": SETPOINT})
        nursery.start_soon(run, one)
        await fleet.until(lambda: fleet.condition("DesiredApplied") == ("True", "Applied", ""))
        await fleet.until(lambda: fleet.status().state == "online")
        nursery.cancel_scope.cancel()
    assert fleet.condition("ReadingsValid")[2] == "setpoint: answers with exception 2 (illegal data address)"
    assert registers.written == [220]


async def test_it_moves_to_another_address(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet = fleet_of_devices
    await fleet.apply(parts.device_json())
    async with hostile(bank(r0=205).answer) as here, hostile(bank(r0=190).answer) as there, trio.open_nursery() as nursery:
        one, _ = make(fleet, parts, port=here, temperature={})
        nursery.start_soon(run, one)
        await fleet.until(lambda: fleet.value("temperature") == "20.5")
        one.rewire(rewired(parts, port=there, temperature={}))
        await fleet.until(lambda: fleet.value("temperature") == "19")
        nursery.cancel_scope.cancel()


async def test_an_unchanged_value_is_not_stored_again(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet, registers = fleet_of_devices, bank(r0=205)
    await fleet.apply(parts.device_json())
    async with hostile(registers.answer) as port, trio.open_nursery() as nursery:
        one, _ = make(fleet, parts, port=port, temperature={"collectCycle": 10, "reportCycle": 10})
        nursery.start_soon(run, one)
        await fleet.until(lambda: fleet.status().state == "ok")
        revision = fleet.store.revision
        await registers.asked(50)
        assert fleet.store.revision == revision
        nursery.cancel_scope.cancel()


async def test_new_readings_cost_no_flash(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet, registers = fleet_of_devices, bank(r0=205)
    await fleet.apply(parts.device_json())
    async with hostile(registers.answer) as port, trio.open_nursery() as nursery:
        one, _ = make(fleet, parts, port=port, temperature={"collectCycle": 10, "reportCycle": 10})
        nursery.start_soon(run, one)
        await fleet.until(lambda: fleet.status().state == "ok")
        held = fleet.store.held()[fleet.store.origin]
        for value in range(100, 110):
            registers.registers[0] = value
            await fleet.until(lambda value=value: fleet.value("temperature") == f"{value / 10:g}")
        assert fleet.store.held()[fleet.store.origin] == held
        await fleet.store.checkpoint()
        assert fleet.store.held()[fleet.store.origin] == held + 1
        assert fleet.value("temperature") == "10.9"
        nursery.cancel_scope.cancel()


async def test_a_full_disk_is_asked_again(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any) -> None:
    fleet, registers = fleet_of_devices, bank(r0=205)
    await fleet.apply(parts.device_json())
    database = fleet.store._disk.writer
    database.pragma("query_only", True)
    async with hostile(registers.answer) as port, trio.open_nursery() as nursery:
        one, log = make(fleet, parts, port=port, temperature={})
        nursery.start_soon(run, one)
        with trio.fail_after(30):
            while "status not stored" not in log.getvalue():
                await registers.asked(1)
        assert fleet.status().state == ""
        database.pragma("query_only", False)
        await fleet.until(lambda: fleet.value("temperature") == "20.5")
        nursery.cancel_scope.cancel()


async def test_a_device_that_is_another_by_now_gets_no_status(
    fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any
) -> None:
    fleet, registers = fleet_of_devices, bank(r0=205)
    await fleet.apply(parts.device_json())
    async with hostile(registers.answer) as port, trio.open_nursery() as nursery:
        one, log = make(fleet, parts, port=port, temperature={})
        await fleet.store.write(Delete(key(Device, "thermometer", "default")))
        await fleet.apply(parts.device_json())
        nursery.start_soon(run, one)
        await registers.asked(5)
        nursery.cancel_scope.cancel()
    assert fleet.status() == DeviceStatus()
    assert log.getvalue() == ""


async def test_a_value_that_is_not_read_back_counts_when_the_device_confirmed_it(
    fleet_of_devices: Any, parts: Any, bank: Any, hostile: Any
) -> None:
    fleet, registers = fleet_of_devices, bank(r0=210)
    registers.unreadable = {0}
    async with hostile(registers.answer) as port:
        setpoint = {"desired": {"value": "22"}, "readBack": False, "visitors": parts.visitor(0), "collectCycle": 60_000}
        await fleet.apply(parts.device_json(port=port, setpoint=setpoint))
        one, _ = make(fleet, parts, port=port, setpoint=setpoint)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, one)
            await fleet.until(lambda: fleet.condition("DesiredApplied")[0] == "True")
            nursery.cancel_scope.cancel()
    assert registers.written == [220]
