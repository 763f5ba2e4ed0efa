"""Devices of a mapper that speaks for them, in the store: from its registration to their twins."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from edged.device.dmi.messages import CLASSES
from edged.device.dmi.service import Service
from edged.device.dmi.speech import Said
from edged.errors import InvalidError, NotFoundError
from edged.kit.log import Log

OWN = {"protocolName": "own", "configData": {}}


@pytest.fixture
async def house(fleet_of_devices: Any, parts: Any, tmp_path: Path) -> AsyncIterator[tuple[Any, Service]]:
    fleet = fleet_of_devices
    await fleet.apply(parts.device_json(protocol=OWN, temperature={"visitors": {}}, setpoint={"visitors": {}}))
    devices = fleet.devices()
    async with trio.open_nursery() as nursery:
        await nursery.start(devices.run)
        service = Service(tmp_path / "dmi.sock", fleet.store, devices, fleet.mappers, "gw-a", Log())
        await nursery.start(service.run)
        yield fleet, service
        nursery.cancel_scope.cancel()


def register(service: Service, directory: Path, name: str = "m", protocol: str = "own") -> Any:
    info = {"name": name, "protocol": protocol, "address": bytes(directory / f"{name}.sock")}
    return service._dmi._register(CLASSES["MapperRegisterRequest"](withData=True, mapper=info))


async def test_a_device_of_a_mapper_that_registers(house: Any, tmp_path: Path) -> None:
    fleet, service = house
    await fleet.until(lambda: fleet.condition("Configured")[0] == "False")
    with pytest.raises(NotFoundError, match="no Device default/thermometer on this node whose values come from a mapper"):
        await service.take("default", "thermometer", [Said("temperature", "20", None)])
    found = register(service, tmp_path)
    assert [each.name for each in found.deviceList] == ["thermometer"]
    await fleet.until(lambda: fleet.condition("Configured")[0] == "True")
    at = int(time.time() * 1000) - 5000
    await service.take("default", "thermometer", [Said("temperature", "20.50", at), Said("setpoint", "21", None)])
    await fleet.until(lambda: (fleet.value("temperature"), fleet.value("setpoint")) == ("20.5", "21"))
    assert fleet.status().state == "ok"
    assert ("default/thermometer", "temperature", at) in [(name, each.property, each.time) for name, each in fleet.readings]
    await service.state("default", "thermometer", "offline")
    assert fleet.status().state == "offline"
    await service.state("default", "thermometer", "ok")
    assert fleet.status().state == "ok"


async def test_what_a_mapper_may_not_say(house: Any, tmp_path: Path) -> None:
    _, service = house
    register(service, tmp_path)
    with pytest.raises(InvalidError, match="setpoint: 99 is over its maximum 30"):
        await service.take("default", "thermometer", [Said("setpoint", "99", None)])
    with pytest.raises(InvalidError, match='has no property "humidity"'):
        await service.take("default", "thermometer", [Said("humidity", "1", None)])
    with pytest.raises(InvalidError, match="state: expected one of ok, online, offline, disconnected, unhealthy, unknown"):
        await service.state("default", "thermometer", "sleepy")
    with pytest.raises(NotFoundError):
        await service.state("default", "another", "ok")


async def test_reports_are_no_change_that_a_mapper_is_told(house: Any, tmp_path: Path, parts: Any) -> None:
    fleet, service = house
    register(service, tmp_path)  # nobody listens there: being told would forget the mapper
    await fleet.until(lambda: fleet.condition("Configured")[0] == "True")
    for value in range(20):
        await service.take("default", "thermometer", [Said("temperature", str(value), None)])
    await fleet.until(lambda: fleet.value("temperature") == "19")
    assert set(service._dmi.mappers) == {"m"}
    await fleet.apply(parts.device_json(protocol=OWN, temperature={"visitors": {}}))
    await fleet.until(lambda: fleet.condition("Configured")[0] == "False")
    assert service._dmi.mappers == {}
