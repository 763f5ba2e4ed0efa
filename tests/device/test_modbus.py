import socket
from decimal import Decimal
from typing import Any

import pytest
import trio

from edged.device import modbus
from edged.device.mapper import PropertyError
from edged.device.modbus import MAPPER, Address, ModbusSession
from edged.errors import InvalidError, ProtocolError, UnreachableError


def point(offset: int, **more: Any) -> Any:
    return MAPPER.point("FLOAT", {"register": "HoldingRegister", "offset": offset, "scale": 0.1, **more})


async def test_against_a_real_server(thermometers: Any) -> None:
    server = thermometers()
    session = await MAPPER.connect(Address("127.0.0.1", server.port))
    assert isinstance(session, ModbusSession)
    assert Decimal(20) <= await session.read(point(0)) <= Decimal(24)
    assert await session.read(point(1)) == Decimal(21)
    await session.write(point(1), Decimal("22.5"))
    assert await session.read(point(1)) == Decimal("22.5")
    both = MAPPER.point("INT", {"register": "HoldingRegister", "offset": 0, "limit": 2})
    await session.write(both, Decimal(0x00D200E6))
    assert await session.read(point(1)) == Decimal("23")
    with pytest.raises(PropertyError, match=r"exception 2 \(illegal data address\)"):
        await session.read(point(7))
    assert await session.read(point(1)) == Decimal("23")  # a refusal ends nothing
    await session.aclose()
    server.stop()
    assert server.lines == ["setpoint 225", "setpoint 230"]


async def test_coils_and_inputs_of_a_real_server(modbus_blocks: int) -> None:
    session = await MAPPER.connect(Address("127.0.0.1", modbus_blocks))
    places = {
        kind: MAPPER.point(type_, {"register": kind, "offset": 3})
        for kind, type_ in (("CoilRegister", "BOOLEAN"), ("DiscreteInputRegister", "BOOLEAN"), ("InputRegister", "INT"))
    }
    found = [await session.read(place) for place in places.values()]
    assert found == [False, True, Decimal(33)]
    await session.write(places["CoilRegister"], True)
    assert await session.read(places["CoilRegister"]) is True
    await session.aclose()


async def test_the_whole_range_of_transactions(thermometers: Any) -> None:
    session = await MAPPER.connect(Address("127.0.0.1", thermometers().port))
    assert isinstance(session, ModbusSession)
    session._transaction = modbus.TRANSACTIONS - 3
    for _ in range(6):
        assert await session.read(point(1)) == Decimal(21)
    await session.aclose()


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:\d+ unit 1 does not take a connection: .*refused"):
            await MAPPER.connect(Address("127.0.0.1", taken.getsockname()[1]))


async def test_a_name_that_is_none() -> None:
    for name in ("no such host", "ü" * 99, "a\0b"):
        with pytest.raises(UnreachableError, match="does not take a connection"):
            await MAPPER.connect(Address(name, 1))


async def test_a_server_that_is_silent(hostile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modbus, "ANSWER_S", 0.1)

    async def drip(stream: trio.SocketStream, request: bytes) -> None:
        for byte in request[:2] + b"\0" * 5:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.03)

    async with hostile(drip) as port:
        session = await MAPPER.connect(Address("127.0.0.1", port))
        with pytest.raises(UnreachableError, match=r"does not answer within 0\.1 s"):
            await session.read(point(0))
        await session.aclose()


@pytest.mark.parametrize("size", range(11))
async def test_a_server_that_closes_at_each_byte(hostile: Any, size: int) -> None:
    async def cut(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all((request[:4] + b"\0\5\1\3\2\0\xd2")[:size])
        await stream.aclose()

    async with hostile(cut) as port:
        session = await MAPPER.connect(Address("127.0.0.1", port))
        if size == 0:
            with pytest.raises(UnreachableError, match="closes the connection instead of an answer"):
                await session.read(point(0))
        else:
            with pytest.raises(ProtocolError, match=f"unit 1 closes the connection after {size} bytes of an answer"):
                await session.read(point(0))
        await session.aclose()


def test_addresses() -> None:
    assert MAPPER.address({"ip": "10.0.0.7", "port": "1502", "slaveID": 3}) == Address("10.0.0.7", 1502, 3)
    assert str(MAPPER.address({"ip": "fd00::7"})) == "[fd00::7]:502 unit 1"
    for config in ({}, {"ip": "x", "slaveID": 256}, {"serialPort": "/dev/ttyS0", "baudRate": 9600}):
        with pytest.raises(InvalidError):
            MAPPER.address(config)
