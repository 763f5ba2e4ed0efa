from decimal import Decimal
from typing import Any

import pytest
import trio

from edged.device.ble import radio
from edged.device.mapper import PropertyError, Sample, Want
from edged.errors import UnreachableError

KITCHEN = {"macAddress": "AA:BB:CC:DD:EE:01", "timeout": 5}
TAG = {"name": "tag", "beacon": True, "timeout": 2}
PATIENCE_S = 30


def temperature(ble: Any) -> Any:
    return ble.point("FLOAT", {"characteristicUUID": "2a6e", "type": "int16", "scale": "0.01"})


@pytest.mark.parametrize("how", [{"macAddress": "AA:BB:CC:DD:EE:01"}, {"name": "kitchen"}, {"service": "181a"}])
async def test_read_and_write(ble: Any, bluez: Any, how: dict[str, str]) -> None:
    setpoint = ble.point("INT", {"characteristicUUID": "fff1", "type": "uint8"})
    secret, none = (ble.point("INT", {"characteristicUUID": uuid}) for uuid in ("fff2", "fff9"))
    session = await ble.connect(ble.address({**how, "timeout": 5}))
    found = await session.read([temperature(ble), setpoint, secret, none])
    assert isinstance(found[0], Sample)
    assert isinstance(found[1], Sample)
    assert "is refused: " in str(found[2])
    assert "is refused: " in str(found[3])
    await session.write(setpoint, Decimal(23))
    assert bluez.tell("get") == "value 17"
    assert await session.read([setpoint]) == [Sample(Decimal(23))]
    with pytest.raises(PropertyError, match="is refused"):
        await session.write(none, Decimal(1))
    await session.aclose()


async def test_notifications_come_by_themselves(ble: Any, bluez: Any) -> None:
    bluez.tell("notify 6e08")
    session = await ble.connect(ble.address(KITCHEN))
    setpoint = ble.point("INT", {"characteristicUUID": "fff1", "type": "uint8"})
    heard: list[str] = []
    news = trio.Event()

    def take(found: Any) -> None:
        heard.extend(str(what.value) for _, what in found)
        if heard[-1] == "-0.01":
            news.set()

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            wants = [Want(each, 1.0, Decimal(0)) for each in (temperature(ble), setpoint)]
            hearing = await nursery.start(session.listen, wants, take)
            assert hearing == {temperature(ble)}  # the other sends nothing: it is read
            for data in ("7008", "7108", "ffff"):
                bluez.tell(f"notify {data}")
            await news.wait()
            nursery.cancel_scope.cancel()
    assert heard == ["21.58", "21.60", "21.61", "-0.01"]
    await session.aclose()


async def test_a_connection_that_breaks(ble: Any, bluez: Any) -> None:
    session = await ble.connect(ble.address(KITCHEN))
    errors: list[str] = []

    async def listen(task_status: trio.TaskStatus[Any]) -> None:
        try:
            await session.listen([], lambda _: None, task_status=task_status)
        except UnreachableError as error:
            errors.append(str(error))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            assert await nursery.start(listen) == frozenset()
            bluez.tell("break")
    assert errors == ["Bluetooth device AA:BB:CC:DD:EE:01 breaks the connection"]
    with pytest.raises(UnreachableError, match="breaks the connection"):
        await session.read([temperature(ble)])
    await session.aclose()
    again = await ble.connect(ble.address(KITCHEN))
    assert isinstance((await again.read([temperature(ble)]))[0], Sample)
    await again.aclose()


async def test_a_beacon_is_heard_and_missed(ble: Any, bluez: Any) -> None:
    bluez.tell("advertise 1027")
    session = await ble.connect(ble.address(TAG))
    fields = {
        "manufacturer": ble.point("FLOAT", {"manufacturer": 0x0499, "type": "uint16", "scale": "0.005"}),
        "service": ble.point("INT", {"serviceData": "fcd2", "type": "uint16", "order": "big"}),
        "rssi": ble.point("INT", {"rssi": True}),
        "none": ble.point("INT", {"manufacturer": 1, "type": "uint8"}),
    }
    found = await session.read(list(fields.values()))
    assert [each.value for each in found[:2]] == [Decimal(50), Decimal(10000)]
    assert -70 <= found[2].value <= -60
    assert str(found[3]) == "is not in what it advertises"
    heard: list[str] = []
    news, errors = trio.Event(), []

    def take(found: Any) -> None:
        heard.extend(str(what.value.normalize()) for _, what in found)
        if heard[-1] == "25":
            news.set()

    async def listen(task_status: trio.TaskStatus[Any]) -> None:
        try:
            await session.listen([Want(fields["manufacturer"], 1.0, Decimal(0))], take, task_status=task_status)
        except UnreachableError as error:
            errors.append(str(error))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            assert await nursery.start(listen) == {fields["manufacturer"]}
            bluez.tell("advertise 8813")
            await news.wait()
            bluez.tell("hide")
    assert errors == ["Bluetooth device tag is not heard for 2 s"]
    with pytest.raises(PropertyError, match="nothing is written"):
        session._link._lost = ""
        await session.write(fields["manufacturer"], Decimal(1))
    await session.aclose()
    bluez.tell("show")


async def test_a_device_that_is_not_there(ble: Any) -> None:
    with pytest.raises(UnreachableError, match=r"00:00:00:00:00:01 is not seen within 0\.3 s"):
        await ble.connect(ble.address({"macAddress": "00:00:00:00:00:01", "timeout": 0.3}))


async def test_connections_are_limited(ble: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radio, "MAX_LINKS", 1)
    first = await ble.connect(ble.address(KITCHEN))
    with pytest.raises(UnreachableError, match="waits for one of the 1 connections of this node"):
        await ble.connect(ble.address({"name": "tag", "timeout": 5}))
    await first.aclose()
    second = await ble.connect(ble.address({"name": "kitchen", "timeout": 5}))
    assert isinstance((await second.read([temperature(ble)]))[0], Sample)
    await second.aclose()


async def test_a_connection_that_could_not_be_made_holds_no_place(
    ble: Any, bluez: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radio, "MAX_LINKS", 1)
    bluez.tell("refuse")
    for _ in range(2):
        with pytest.raises(UnreachableError, match=r"is not reached: .*Connection Failed"):
            await ble.connect(ble.address(KITCHEN))
    bluez.tell("accept")
    session = await ble.connect(ble.address(KITCHEN))
    await session.aclose()


async def test_a_device_is_paired_once(ble: Any, bluez: Any) -> None:
    assert bluez.tell("paired") == "paired False"
    for _ in range(2):
        session = await ble.connect(ble.address({**KITCHEN, "pair": True}))
        assert bluez.tell("paired") == "paired True"
        assert isinstance((await session.read([temperature(ble)]))[0], Sample)
        await session.aclose()


@pytest.mark.parametrize("how", [{"macAddress": "AA:BB:CC:DD:EE:02"}, {"service": "fcd2"}])
async def test_a_beacon_is_found(ble: Any, bluez: Any, how: dict[str, str]) -> None:
    bluez.tell("advertise 1027")
    session = await ble.connect(ble.address({**how, "beacon": True, "timeout": 5}))
    field = ble.point("INT", {"manufacturer": 0x0499, "type": "uint16"})
    assert await session.read([field]) == [Sample(Decimal(10000))]
    await session.aclose()


async def test_bytes_that_hold_nothing_are_the_fault_of_one_property(ble: Any, bluez: Any) -> None:
    session = await ble.connect(ble.address(KITCHEN))
    setpoint = ble.point("INT", {"characteristicUUID": "fff1", "type": "uint8"})
    for data in ("", "6e", "00" * 512):
        bluez.tell(f"notify {data}")
        found = await session.read([temperature(ble), setpoint])
        assert isinstance(found[0], Sample if len(data) > 2 else PropertyError)
        assert isinstance(found[1], Sample)
    bluez.tell("notify 6e08")
    await session.aclose()


async def test_a_machine_without_bluetooth(ble: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(UnreachableError, match="is not reached: "):
        await ble.connect(ble.address(KITCHEN))
