import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import trio
import yaml

from edged.device.mapper import Want
from edged.model.core import Secret
from edged.model.objects import dump, key
from edged.store.writes import Create

EXAMPLE = Path(__file__).parents[3] / "packaging" / "examples" / "opcua.yaml"
NONE = Decimal(0)


async def test_the_example(fleet_of_devices: Any, opcua_server: Any) -> None:
    fleet = fleet_of_devices
    opcua_server.tell("set float 21.6")
    model, device = yaml.safe_load_all(EXAMPLE.read_text())
    device["spec"]["protocol"]["configData"]["url"] = opcua_server.url
    await fleet.apply(model)
    await fleet.apply(device)
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.devices().run)
        await fleet.until(lambda: fleet.condition("DesiredApplied", "boiler-7") == ("True", "Applied", ""))
        await fleet.until(lambda: fleet.value("temperature", "boiler-7") == "0.1")
        opcua_server.tell("set double 5.5")
        await fleet.until(lambda: fleet.value("temperature", "boiler-7") == "5.5")
        await fleet.until(lambda: fleet.status("boiler-7").state == "ok")
        nursery.cancel_scope.cancel()
    assert opcua_server.value("float") == "65.5"
    values = [reading.value for _, reading in fleet.readings if reading.property == "temperature"]
    assert values == ["0.1", "5.5"]
    opcua_server.tell("set double 0.1")
    opcua_server.tell("set float 21.6")


async def test_a_period_is_kept_by_asking(fleet_of_devices: Any, opcua_server: Any) -> None:
    fleet = fleet_of_devices
    model, device = yaml.safe_load_all(EXAMPLE.read_text())
    device["spec"]["protocol"]["configData"]["url"] = opcua_server.url
    device["spec"]["properties"] = [
        {**device["spec"]["properties"][0], "reportStrategy": "OnPeriod", "collectCycle": 50, "reportCycle": 50}
    ]
    await fleet.apply(model)
    await fleet.apply(device)
    enough = trio.Event()

    def take(_namespace: str, _name: str, readings: Any) -> None:
        fleet.readings += readings
        if len(fleet.readings) >= 5:
            enough.set()

    fleet.take = take
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.devices().run)
        with trio.fail_after(30):
            await enough.wait()
        nursery.cancel_scope.cancel()


async def test_devices_of_one_server_each_go_on_with_their_own(opcua: Any, opcua_servers: Any, node: Any, ear: Any) -> None:
    server = opcua_servers()
    address = opcua.address({"url": server.url})
    names, heard = ["int16", "int32"], [ear(), ear()]
    wants = [[Want(node("INT", name), 0.1, NONE)] for name in names]
    for order in ([0, 1], [1, 0]):  # they come back in another order
        sessions = {at: await opcua.connect(address) for at in order}
        async with trio.open_nursery() as nursery:
            for at in order:
                await nursery.start(heard[at].listen, sessions[at], wants[at])
                await heard[at].until(lambda at=at: len(heard[at].found) > 0)  # type: ignore[misc]
            if order == [0, 1]:
                server.tell("drop")
            else:
                for at in order:
                    await heard[at].until(lambda at=at: heard[at].values()[-1] == "5")  # type: ignore[misc]
            if order == [0, 1]:
                for at in order:
                    await heard[at].until(lambda at=at: bool(heard[at].error))  # type: ignore[misc]
            nursery.cancel_scope.cancel()
        for session in sessions.values():
            await session.aclose()
        if order == [0, 1]:
            for value in range(6):
                server.tell(f"set int16 {value}")
                server.tell(f"set int32 {value}")
    assert heard[0].values() == ["-16", *map(str, range(6))]
    assert heard[1].values() == ["-32", *map(str, range(6))]


async def test_a_secret_that_comes_later(fleet_of_devices: Any) -> None:
    fleet = fleet_of_devices
    model, device = yaml.safe_load_all(EXAMPLE.read_text())
    device["spec"]["protocol"]["configData"] = {"url": "opc.tcp://127.0.0.1:1", "secretName": "boiler-7"}
    await fleet.apply(model)
    await fleet.apply(device)
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.devices().run)
        await fleet.until(lambda: 'secretName: there is no Secret "boiler-7"' in fleet.condition("Configured", "boiler-7")[2])
        data = {name: base64.b64encode(text).decode() for name, text in (("USERNAME", b"operator"), ("PASSWORD", b"s3cret"))}
        value = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "boiler-7", "namespace": "default"}, "data": data}
        await fleet.store.write(Create(key(Secret, "boiler-7", "default"), "uid-secret", dump(value)))
        await fleet.until(lambda: fleet.condition("Configured", "boiler-7")[0] == "True")
        await fleet.until(lambda: "is not reached" in fleet.condition("Connected", "boiler-7")[2])
        nursery.cancel_scope.cancel()
    assert "s3cret" not in fleet.log.getvalue()
