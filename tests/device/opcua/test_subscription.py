from decimal import Decimal
from typing import Any

import pytest
import trio

from edged.device.mapper import Want
from edged.device.opcua import subscription

NONE = Decimal(0)


async def test_every_change_comes_once_and_in_order(opcua: Any, opcua_server: Any, node: Any, ear: Any) -> None:
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    level, unknown = node("INT", "int32"), node("INT", "none")
    heard = ear()
    async with trio.open_nursery() as nursery:
        hearing = await nursery.start(heard.listen, session, [Want(level, 0.1, NONE), Want(unknown, 0.1, NONE)])
        assert hearing == {level}  # the other is left to be read
        await heard.until(lambda: heard.values() == ["-32"])
        for value in range(40):
            opcua_server.tell(f"set int32 {value}")
        await heard.until(lambda: len(heard.found) == 41)
        opcua_server.tell("bad int32 808B0000")
        await heard.until(lambda: len(heard.found) == 42)
        nursery.cancel_scope.cancel()
    assert heard.values()[:41] == ["-32", *map(str, range(40))]
    assert "BadDeviceFailure" in heard.values()[41]
    times = [each.wall for each in heard.found[1:41]]
    assert times == sorted(times)
    opcua_server.tell("set int32 -32")
    await session.aclose()


async def test_the_server_keeps_the_deadband(opcua: Any, opcua_server: Any, node: Any, ear: Any) -> None:
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    heard = ear()
    wants = [Want(node("DOUBLE", "double"), 0.1, Decimal("0.5")), Want(node("STRING", "string"), 0.1, Decimal("0.5"))]
    async with trio.open_nursery() as nursery:
        assert await nursery.start(heard.listen, session, wants) == {want.point for want in wants}
        for value in ("0.2", "0.3", "5", "5.1", "9", "0.1"):
            opcua_server.tell(f"set double {value}")
        await heard.until(lambda: "9" in heard.values() and "grün" in heard.values())
        nursery.cancel_scope.cancel()
    assert not {"0.2", "0.3", "5.1"} & set(heard.values())
    await session.aclose()


async def test_other_wants_make_another_subscription(opcua: Any, opcua_server: Any, node: Any, ear: Any) -> None:
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    for names in (["bool"], ["uint32", "int64"], []):
        heard = ear()
        async with trio.open_nursery() as nursery:
            hearing = await nursery.start(heard.listen, session, [Want(node("INT", name), 0.1, NONE) for name in names])
            assert hearing == {node("INT", name) for name in names}
            await heard.until(lambda names=names, heard=heard: len(heard.found) == len(names))  # type: ignore[misc]
            nursery.cancel_scope.cancel()
    await session.aclose()


async def test_a_server_that_falls_silent(
    opcua: Any, opcua_server: Any, node: Any, ear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "SILENT_S", -1.0)  # every server is silent for longer
    monkeypatch.setattr("edged.device.opcua.connection.WATCH_S", 0.05)
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    heard = ear()
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, [Want(node("INT", "int64"), 0.1, NONE)])
        await heard.until(lambda: bool(heard.error))
        nursery.cancel_scope.cancel()
    assert heard.error == f"{opcua_server.url}: no longer sends what is monitored"
    await session.aclose()
