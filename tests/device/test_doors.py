"""Calls of methods, by the node's own API and over a stream of a peer, on a device that answers by the book."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edged.device import poller
from edged.device.doors import AT_ONCE, DeviceDoors
from edged.device.history.journal import Journal
from edged.device.history.ring import Limits
from edged.device.mapper import PropertyError
from edged.device.readings import Reading
from edged.device.virtual.mapper import VirtualSession
from edged.errors import InvalidError, NotFoundError, UnreachableError
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.wire.codec import Frames
from edged.wire.peer import ANSWER, DeviceCall, DeviceHistory, Opened, Refused

METHODS = [{"name": "Set", "propertyNames": ["setpoint"]}, {"name": "Reset"}]
CALL = DeviceCall("default", "thermometer", "Set", ["setpoint=22"])


async def nothing(*_asked: Any) -> list[Reading]:
    return []


class Served:
    """A device of one register, served; what the register does when it is written may change."""

    def __init__(self, fleet: Any, doors: DeviceDoors, registers: Any) -> None:
        self.fleet, self.doors, self.registers = fleet, doors, registers
        self.away = False
        self.clamp = False

    async def answer(self, stream: trio.SocketStream, request: bytes) -> None:
        if self.away:
            await stream.aclose()
        elif self.clamp and request[7] != 3:
            await stream.send_all(request)
        else:
            await self.registers.answer(stream, request)

    async def said(self, asked: DeviceCall = CALL) -> Any:
        return json.loads(b"".join([piece async for piece in await self.doors.open(asked)]))


@pytest.fixture
async def served(fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any, nursery: trio.Nursery) -> AsyncIterator[Served]:
    fleet, devices = fleet_of_devices, fleet_of_devices.devices()
    made = Served(fleet, DeviceDoors(devices.call, nothing), bank(r0=210))
    async with hostile(made.answer) as port:
        value = parts.device_json(port=port, setpoint={"visitors": parts.visitor(0), "collectCycle": 60_000})
        value["spec"]["methods"] = METHODS
        await fleet.apply(value)
        await nursery.start(devices.run)
        await fleet.until(lambda: fleet.status().state == "ok")
        yield made
        nursery.cancel_scope.cancel()


async def test_a_call_writes_and_reads_back_at_once(served: Served) -> None:
    assert await served.said() == {"values": {"setpoint": "22"}}
    assert served.registers.written == [220]
    await served.fleet.until(lambda: served.fleet.value("setpoint") == "22")


async def test_a_peer_calls(served: Served) -> None:
    for asked, expected in ((CALL, Opened), (DeviceCall("default", "other", "Set"), Refused)):
        near, far = trio.testing.memory_stream_pair()
        await served.doors.serve("gw-b", asked, far)
        frames = Frames()
        frames.feed(b"".join([bytes(data) async for data in near]))
        answer = ANSWER.decode(frames.next() or b"")
        assert isinstance(answer, expected)
        if isinstance(answer, Refused):
            assert answer.reason == 'device "default/other" is not served by node gw-a'
        else:
            assert json.loads(frames.rest()) == {"values": {"setpoint": "22"}}


async def test_what_a_device_does_not_take_is_said(served: Served) -> None:
    served.clamp = True
    with pytest.raises(InvalidError, match="setpoint: 22 was written, 21 reads back"):
        await served.said()
    with pytest.raises(InvalidError, match="the protocol has no methods of its own"):
        await served.said(DeviceCall("default", "thermometer", "Reset"))
    with pytest.raises(NotFoundError, match='no method "Open"'):
        await served.said(DeviceCall("default", "thermometer", "Open"))
    assert await served.said(DeviceCall("default", "thermometer", "Set", ["21"])) == {"values": {"setpoint": "21"}}


async def test_a_call_to_a_device_that_goes_away(served: Served) -> None:
    served.away = True
    with pytest.raises(UnreachableError, match="whether the call was heard is not known"):
        await served.said()
    await served.fleet.until(lambda: served.fleet.status().state == "disconnected")
    with pytest.raises(UnreachableError, match="the device does not answer: "):
        await served.said()


async def test_a_device_takes_few_calls_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_CALLS", 0)
    with pytest.raises(UnreachableError, match="calls wait for the device already"):
        await served.said()


async def test_a_mapper_with_methods_of_its_own(
    fleet_of_devices: Any, parts: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(_session: Any, method: str, arguments: Any) -> Any:
        if arguments:
            raise PropertyError("it takes no arguments")
        return [True, method]

    monkeypatch.setattr(VirtualSession, "call", call, raising=False)
    fleet, devices = fleet_of_devices, fleet_of_devices.devices()
    temperature = {"visitors": {"configData": {"kind": "sine", "period": 60}}}
    value = parts.device_json(protocol={"protocolName": "virtual", "configData": {}}, temperature=temperature)
    value["spec"]["methods"] = METHODS
    await fleet.apply(value)
    await nursery.start(devices.run)
    await fleet.until(lambda: fleet.status().state == "ok")
    asked = DeviceCall("default", "thermometer", "Reset")
    assert await devices.call(asked) == {"results": ["true", "Reset"]}
    with pytest.raises(InvalidError, match="it takes no arguments"):
        await devices.call(DeviceCall("default", "thermometer", "Reset", ["1"]))
    nursery.cancel_scope.cancel()


async def test_what_a_device_said_is_told_in_lines(tmp_path: Path) -> None:
    async def tell(_reason: str, _message: str) -> None:
        raise AssertionError("nothing is lost")

    journal = Journal(
        tmp_path / "readings.db", Limits(1 << 20, 86400), "drop-oldest", time.time, Log(), tell, Inline(), Inline()
    )
    doors = DeviceDoors(nothing, journal.history)  # type: ignore[arg-type]  nobody calls
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        now = int(time.time() * 1000)
        for value in range(3 * AT_ONCE):
            journal.append("default", "meter", [Reading("power", "int", str(value), now + value)])
        asked = DeviceHistory("default", "meter", "power", now + 1, now + 5 * AT_ONCE, 2 * AT_ONCE)
        text = b"".join([piece async for piece in await doors.open(asked)])
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["value"] for line in lines] == [str(value) for value in range(AT_ONCE, 3 * AT_ONCE)]
        assert lines[0] == {"property": "power", "type": "int", "value": str(AT_ONCE), "time": now + AT_ONCE}
        assert [piece async for piece in await doors.open(DeviceHistory("default", "other", "", 0, now, 5))] == []
        nursery.cancel_scope.cancel()
