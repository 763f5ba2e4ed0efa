"""The service with a real store, a real Modbus server in its own process, and servers that misbehave."""

import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from edged.device import poller, worker
from edged.device.report import twin_value
from edged.model.devices import Device
from edged.model.objects import dump, key
from edged.store.writes import Delete, PutStatus

NAME = key(Device, "thermometer", "default")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "RETRY_CAP_S", 1.0)


@pytest.fixture
async def gw_a(fleet_of_devices: Any, nursery: trio.Nursery) -> AsyncIterator[Any]:
    fleet_of_devices.served = fleet_of_devices.devices("gw-a")
    await nursery.start(fleet_of_devices.served.run)
    yield fleet_of_devices


def observed(fleet: Any, name: str = "setpoint") -> str:
    return next((twin.observed_desired.value for twin in fleet.status().twins if twin.property_name == name), "")


async def test_a_thermometer_from_end_to_end(gw_a: Any, parts: Any, thermometers: Any) -> None:
    server = thermometers()
    await gw_a.apply(parts.device_json(port=server.port))
    await gw_a.until(lambda: gw_a.value("temperature") != "")
    assert gw_a.status().state == "ok"
    assert gw_a.value("setpoint") == "21"
    first = gw_a.value("temperature")
    assert twin_value(first, "FLOAT", 0).metadata["type"] == gw_a.status().twins[0].reported.metadata["type"] == "float"
    await gw_a.until(lambda: gw_a.value("temperature") != first)

    desired = {"desired": {"value": "22.5"}}
    await gw_a.apply(parts.device_json(port=server.port, temperature={}, setpoint=desired))
    await gw_a.until(lambda: observed(gw_a) == "22.5" and gw_a.value("setpoint") == "22.5")
    assert gw_a.condition("DesiredApplied") == ("True", "Applied", "")
    await gw_a.until(lambda: gw_a.events() == [("Normal", "DesiredApplied", "setpoint is 22.5")])
    server.stop()
    assert server.lines == ["setpoint 225"]


async def test_a_server_that_goes_away_and_a_desired_value_meanwhile(gw_a: Any, parts: Any, thermometers: Any) -> None:
    server, other = thermometers(), thermometers()
    await gw_a.apply(parts.device_json(port=server.port))
    await gw_a.apply(parts.device_json(name="other", port=other.port))
    await gw_a.until(lambda: gw_a.status().state == "ok" and gw_a.status("other").state == "ok")
    server.stop()
    await gw_a.until(lambda: gw_a.status().state == "disconnected")
    assert gw_a.condition("Connected")[:2] == ("False", "Unreachable")
    await gw_a.apply(parts.device_json(port=server.port, temperature={}, setpoint={"desired": {"value": "25"}}))
    await gw_a.apply(parts.device_json(port=server.port, temperature={}, setpoint={"desired": {"value": "26"}}))
    await gw_a.until(lambda: gw_a.condition("DesiredApplied")[1:] == ("Pending", "setpoint: 26 waits to be written"))
    before = gw_a.value("temperature", "other")
    await gw_a.until(lambda: gw_a.value("temperature", "other") != before)
    assert gw_a.status("other").state == "ok"

    again = thermometers(server.port)
    await gw_a.until(lambda: gw_a.status().state == "ok" and observed(gw_a) == "26")
    again.stop()
    assert again.lines == ["setpoint 260"]


GOOD = b"\0\5\1\3\2\0\xd2"  # length, unit, function, byte count, 21.0: what follows the transaction and protocol of a request

NONSENSE = {
    "a wrong length": (lambda request: request[:4] + b"\0\x09" + GOOD[2:], "Nonsense", "announces 9 bytes"),
    "a huge length": (lambda request: request[:4] + b"\xff\xff" + GOOD[2:], "Nonsense", "announces 65535 bytes"),
    "a wrong unit": (lambda request: request[:4] + b"\0\5\x63" + GOOD[3:], "Nonsense", "unit 99, asked was 1"),
    "a wrong transaction": (lambda request: b"\xff\xff\0\0" + GOOD, "Nonsense", "transaction 65535"),
    "a wrong protocol": (lambda request: request[:2] + b"\0\7" + GOOD, "Nonsense", "protocol 7"),
    "a wrong byte count": (lambda request: request[:4] + b"\0\5\1\3\3\0\xd2", "Nonsense", "3 bytes of data"),
    "too much": (lambda request: request[:4] + GOOD + b"\0", "Nonsense", "1 bytes more"),
    "another function": (lambda request: request[:4] + b"\0\5\1\4\2\0\xd2", "Nonsense", "function 3 with function 4"),
    "half a frame": (lambda request: request[:4] + GOOD[:3] + b"", "Nonsense", "after 7 bytes of an answer"),
    "a web page": (lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n" * 99, "Nonsense", "transaction"),
    "nothing": (lambda request: b"", "Unreachable", "closes the connection instead of an answer"),
    "a gateway's exception": (lambda request: request[:4] + b"\0\3\1\x83\x0b", "Unreachable", "behind the gateway"),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_is_said_and_harms_no_other_device(gw_a: Any, parts: Any, hostile: Any, bank: Any, name: str) -> None:
    make, reason, said = NONSENSE[name]

    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(make(request))
        await stream.aclose()

    good = bank(r0=205, r1=210)
    async with hostile(answer) as bad_port, hostile(good.answer) as good_port:
        await gw_a.apply(parts.device_json(port=bad_port, temperature={}))
        await gw_a.apply(parts.device_json(name="other", port=good_port))
        await gw_a.until(lambda: gw_a.condition("Connected")[1] == reason)
        status, _, message = gw_a.condition("Connected")
        assert status == "False"
        assert said in message
        assert gw_a.status().state == ("unhealthy" if reason == "Nonsense" else "offline")
        await gw_a.until(lambda: gw_a.value("temperature", "other") == "20.5")
        good.registers[0] = 206
        await gw_a.until(lambda: gw_a.value("temperature", "other") == "20.6")
        assert gw_a.status("other").state == "ok"


async def test_a_device_that_refuses_everything(gw_a: Any, parts: Any, hostile: Any, bank: Any) -> None:
    async with hostile(bank().answer) as port:
        await gw_a.apply(parts.device_json(port=port))
        await gw_a.until(lambda: gw_a.status().state == "unhealthy")
        assert gw_a.condition("Connected") == ("True", "Answers", "")
        assert gw_a.condition("ReadingsValid")[2] == (
            "temperature: answers with exception 2 (illegal data address); "
            "setpoint: answers with exception 2 (illegal data address)"
        )


async def test_a_mistake_in_a_manifest_is_named_and_the_rest_goes_on(gw_a: Any, parts: Any, hostile: Any, bank: Any) -> None:
    async with hostile(bank(r0=205).answer) as port:
        wrong = {"visitors": parts.visitor(1, register="FooRegister")}
        await gw_a.apply(parts.device_json(port=port, temperature={}, setpoint=wrong, humidity={}))
        await gw_a.until(lambda: gw_a.value("temperature") == "20.5")
        assert gw_a.status().state == "online"
        status, reason, message = gw_a.condition("Configured")
        assert (status, reason) == ("False", "WrongConfiguration")
        assert message.startswith("spec.properties[1].visitors.configData.register: expected one of CoilRegister")
        assert message.endswith('; spec.properties[2].name: the DeviceModel thermometer has no property "humidity"')


async def test_a_model_that_comes_later(gw_a: Any, parts: Any, hostile: Any, bank: Any) -> None:
    model = {**parts.MODEL, "metadata": {"name": "late", "namespace": "default"}}
    async with hostile(bank(r0=205).answer) as port:
        device = parts.device_json(port=port, temperature={})
        device["spec"]["deviceModelRef"]["name"] = "late"
        await gw_a.apply(device)
        await gw_a.until(lambda: gw_a.status().state == "unknown")
        assert gw_a.condition("Configured")[2] == 'spec.deviceModelRef.name: there is no DeviceModel "default/late"'
        await gw_a.apply(model)
        await gw_a.until(lambda: gw_a.status().state == "ok")
        assert gw_a.condition("Configured") == ("True", "Wired", "")


async def test_a_device_moves_to_another_node(gw_a: Any, parts: Any, hostile: Any, bank: Any, nursery: trio.Nursery) -> None:
    registers = bank(r0=205)
    async with hostile(registers.answer) as port:
        await gw_a.apply(parts.device_json(port=port, temperature={}))
        await gw_a.until(lambda: gw_a.value("temperature") == "20.5")
        await gw_a.apply(parts.device_json(port=port, node="gw-b", temperature={}))
        await trio.testing.wait_all_tasks_blocked()
        seen = registers.requests
        registers.registers[0] = 190
        await trio.sleep(0.3)  # three cycles
        assert registers.requests <= seen + 1  # one may have been on its way
        assert gw_a.value("temperature") == "20.5"
        await nursery.start(gw_a.devices("gw-b").run)
        await gw_a.until(lambda: gw_a.value("temperature") == "19")


async def test_a_device_of_the_same_name_is_another_device(gw_a: Any, parts: Any, hostile: Any, bank: Any) -> None:
    async with hostile(bank(r0=205).answer) as port:
        await gw_a.apply(parts.device_json(port=port, temperature={}))
        await gw_a.until(lambda: gw_a.value("temperature") == "20.5")
        await gw_a.store.write(Delete(NAME))
        await gw_a.apply(parts.device_json(port=port, temperature={}))
        await gw_a.until(lambda: gw_a.value("temperature") == "20.5")
        assert gw_a.store.get(NAME).uid == "uid-3"
        await gw_a.store.write(Delete(NAME))


async def test_a_flood_of_changes_is_followed(gw_a: Any, parts: Any, hostile: Any, bank: Any) -> None:
    registers = bank(r0=205, r1=210)
    async with hostile(registers.answer) as port:
        for tenths in range(200, 300):
            desired = {"desired": {"value": str(tenths / 10)}}
            await gw_a.apply(parts.device_json(port=port, temperature={}, setpoint=desired))
        await gw_a.until(lambda: observed(gw_a) == "29.9")
        assert registers.registers[1] == 299
        assert registers.written == sorted(registers.written)


async def test_what_another_says_of_a_device_that_is_served_here_is_answered(gw_a: Any, parts: Any, thermometers: Any) -> None:
    server = thermometers()
    await gw_a.apply(parts.device_json(port=server.port))
    await gw_a.until(lambda: gw_a.status().state == "ok")
    lost = dump({"state": "unknown", "conditions": [{"type": "Served", "status": "False", "reason": "NodeLost"}]})
    await gw_a.store.write(PutStatus(NAME, lost))
    await gw_a.until(lambda: gw_a.status().state == "ok" and gw_a.value("setpoint") == "21")
    assert gw_a.condition("Served") == ("", "", "")
    server.stop()


async def test_what_devices_keep_is_set_aside(
    fleet_of_devices: Any, parts: Any, hostile: Any, bank: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SET_ASIDE_S", 0.0)
    gc.unfreeze()
    async with hostile(bank(r0=205).answer) as port:
        await fleet_of_devices.apply(parts.device_json(port=port, temperature={}))
        await nursery.start(fleet_of_devices.devices("gw-a").run)
        await fleet_of_devices.until(lambda: fleet_of_devices.value("temperature") == "20.5")
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


async def test_only_what_was_changed_is_wired_anew(gw_a: Any, parts: Any, hostile: Any, bank: Any) -> None:
    async with hostile(bank(r0=205, r1=210).answer) as port:
        for name in ("one", "two"):
            await gw_a.apply(parts.device_json(name=name, port=port, temperature={}))
        await gw_a.until(lambda: gw_a.status("one").state == gw_a.status("two").state == "ok")
        before = dict(gw_a.served._wired)
        await gw_a.apply(parts.device_json(name="two", port=port, setpoint={}))
        await gw_a.until(lambda: gw_a.value("setpoint", "two") == "20.5")
        assert [name.name for name, known in gw_a.served._wired.items() if known is not before[name]] == ["two"]
