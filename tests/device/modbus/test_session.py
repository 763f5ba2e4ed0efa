import socket
from decimal import Decimal
from typing import Any

import pytest
import trio

from edged.device.mapper import PropertyError, Sample
from edged.device.modbus.address import Address, Network, Patience
from edged.device.modbus.session import Modbus, ModbusSession
from edged.errors import ProtocolError, UnreachableError

MAPPER = Modbus()


def at(port: int, unit: int = 1, timeout: float = 30.0) -> Address:
    return Address(Network("127.0.0.1", port), unit, Patience(timeout))


def point(offset: int, **more: Any) -> Any:
    return MAPPER.point("FLOAT", {"register": "HoldingRegister", "offset": offset, "scale": 0.1, **more})


async def value(session: Any, place: Any) -> Any:
    (found,) = await session.read([place])
    return found.value


async def test_against_a_real_server(thermometers: Any) -> None:
    server = thermometers()
    session = await MAPPER.connect(at(server.port))
    assert isinstance(session, ModbusSession)
    assert Decimal(20) <= await value(session, point(0)) <= Decimal(24)
    assert await value(session, point(1)) == Decimal(21)
    await session.write(point(1), Decimal("22.5"))
    assert await value(session, point(1)) == Decimal("22.5")
    both = MAPPER.point("INT", {"register": "HoldingRegister", "offset": 0, "limit": 2})
    await session.write(both, Decimal(0x00D200E6))
    assert await value(session, point(1)) == Decimal("23")
    (refused,) = await session.read([point(7)])
    assert isinstance(refused, PropertyError)
    assert "exception 2 (illegal data address)" in str(refused)
    assert await value(session, point(1)) == Decimal("23")  # a refusal ends nothing
    await session.aclose()
    server.stop()
    assert server.lines == ["setpoint 225", "setpoint 230"]


async def test_coils_and_inputs_of_a_real_server(modbus_blocks: int) -> None:
    session = await MAPPER.connect(at(modbus_blocks))
    places = {
        kind: MAPPER.point(type_, {"register": kind, "offset": 3})
        for kind, type_ in (("CoilRegister", "BOOLEAN"), ("DiscreteInputRegister", "BOOLEAN"), ("InputRegister", "INT"))
    }
    found = await session.read(list(places.values()))
    assert found == [Sample(False), Sample(True), Sample(Decimal(33))]
    await session.write(places["CoilRegister"], True)
    assert await value(session, places["CoilRegister"]) is True
    await session.aclose()


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:\d+ unit 1 does not take a connection: .*refused"):
            await MAPPER.connect(at(taken.getsockname()[1]))


async def test_a_second_implementation(serve: Any, second: str) -> None:
    session = await MAPPER.connect(at(serve(second)))
    points = [point(at_, scale=1) for at_ in range(100)]
    inputs = [MAPPER.point("INT", {"register": "InputRegister", "offset": at_}) for at_ in range(5)]
    bits = [MAPPER.point("BOOLEAN", {"register": "DiscreteInputRegister", "offset": at_}) for at_ in range(40)]
    found = await session.read([*points, *inputs, *bits])
    assert found[:100] == [Sample(Decimal(at_)) for at_ in range(100)]
    assert found[100:105] == [Sample(Decimal(1000 + at_)) for at_ in range(5)]
    assert found[105:] == [Sample(at_ % 3 == 0) for at_ in range(40)]
    for type_, config, written in (
        ("INT", {"offset": 3}, Decimal(7)),
        ("DOUBLE", {"offset": 4, "limit": 4}, Decimal("-21.6")),
        ("STRING", {"offset": 9, "limit": 3}, "edged"),
        ("BOOLEAN", {"offset": 3, "register": "CoilRegister"}, True),
        ("BOOLEAN", {"offset": 20, "bit": 9}, True),  # it has no function 22
    ):
        place = MAPPER.point(type_, {"register": "HoldingRegister", **config})
        await session.write(place, written)
        assert await value(session, place) == written
    assert await value(session, point(20, scale=1)) == Decimal(20 | 1 << 9)
    await session.aclose()


@pytest.mark.tool("socat")
async def test_rtu_on_a_serial_line(cable: Any, serve: Any, rtu_units: str) -> None:
    ours, theirs = cable
    serve(rtu_units, theirs)
    await check_units({"serialPort": ours, "baudRate": 19200})


async def test_rtu_over_tcp(serve: Any, rtu_units: str) -> None:
    await check_units({"ip": "127.0.0.1", "port": serve(rtu_units), "framing": "rtu"})


async def check_units(config: dict[str, Any]) -> None:
    """Three units that share a line, read and written together."""
    sessions = [await MAPPER.connect(MAPPER.address({**config, "slaveID": unit, "timeout": 20_000})) for unit in (1, 2, 3)]
    found: dict[int, Any] = {}

    async def use(unit: int, session: Any) -> None:
        await session.write(point(1, scale=1), Decimal(unit))
        await session.write(MAPPER.point("BOOLEAN", {"register": "HoldingRegister", "offset": 2, "bit": 15}), True)
        found[unit] = [each.value for each in await session.read([point(at_, scale=1) for at_ in range(100)])]

    async with trio.open_nursery() as nursery:
        for unit, session in enumerate(sessions, 1):
            nursery.start_soon(use, unit, session)
    for unit in (1, 2, 3):
        expected = [Decimal(100 * unit + at_) for at_ in range(100)]
        expected[1], expected[2] = Decimal(unit), expected[2] + 2**15
        assert found[unit] == expected
    for session in sessions:
        await session.aclose()


async def test_units_share_a_connection(hostile: Any, bank_of: Any) -> None:
    registers = bank_of(2)
    streams: set[trio.SocketStream] = set()

    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        streams.add(stream)
        await registers.answer(stream, request)

    async with hostile(answer) as port:
        sessions = [await MAPPER.connect(at(port, unit)) for unit in (1, 2, 3)]
        for session in sessions:
            assert await value(session, point(1)) == Decimal("0.1")
        await sessions[0].aclose()
        assert await value(sessions[1], point(1)) == Decimal("0.1")  # one that goes takes nothing from the others
        assert len(streams) == 1
        for session in sessions[1:]:
            await session.aclose()
    assert not MAPPER._lines


async def test_a_hundred_properties_are_one_read(hostile: Any, bank_of: Any) -> None:
    registers = bank_of(100)
    async with hostile(registers.answer) as port:
        session = await MAPPER.connect(at(port))
        points = [point(at_, scale=1) for at_ in reversed(range(100))]
        for _ in range(3):
            assert await session.read(points) == [Sample(Decimal(at_)) for at_ in reversed(range(100))]
        assert registers.requests == 3
        await session.aclose()


async def test_a_device_that_refuses_a_gap(hostile: Any, bank: Any) -> None:
    registers = bank(r0=0, r1=1, r4=4, r5=5)
    async with hostile(registers.answer) as port:
        session = await MAPPER.connect(at(port))
        points = [point(at_, scale=1) for at_ in (0, 1, 4, 5)]
        for requests in (3, 2, 2):  # refused, then in two parts; from then on two
            before = registers.requests
            assert await session.read(points) == [Sample(Decimal(at_)) for at_ in (0, 1, 4, 5)]
            assert registers.requests - before == requests
        await session.aclose()


async def test_one_register_that_is_refused_costs_no_other(hostile: Any, bank_of: Any) -> None:
    registers = bank_of(50)
    registers.unreadable = {17}
    async with hostile(registers.answer) as port:
        session = await MAPPER.connect(at(port))
        for _ in range(2):
            found = await session.read([point(at_, scale=1) for at_ in range(50)])
            assert isinstance(found[17], PropertyError)
            assert "illegal data address" in str(found[17])
            assert [each.value for each in found if isinstance(each, Sample)] == [
                Decimal(at_) for at_ in range(50) if at_ != 17
            ]
        await session.aclose()


async def test_one_register_that_is_silent_costs_no_other(hostile: Any, bank_of: Any) -> None:
    registers = bank_of(8)
    async with hostile(registers.answer) as port:
        session = await MAPPER.connect(at(port, timeout=0.1))
        points = [point(at_, scale=1) for at_ in range(8)]
        await session.read(points)
        registers.silent = {5}
        while len(good := [each for each in await session.read(points) if isinstance(each, Sample)]) < 7:
            pass
        assert [each.value for each in good] == [Decimal(at_) for at_ in range(8) if at_ != 5]
        before = registers.requests
        found = await session.read(points)
        assert str(found[5]) == "does not answer within 0.1 s"
        assert registers.requests - before == 3  # 0 to 3, 4, 6 and 7: the silent one has to wait
        registers.silent = set(range(8))
        with pytest.raises(UnreachableError, match=r"unit 1 does not answer within 0\.1 s"):
            await session.read(points)
        await session.aclose()


async def test_a_device_without_a_function(hostile: Any, bank_of: Any) -> None:
    registers = bank_of(4)
    registers.lacks = {6, 22}
    bit = MAPPER.point("BOOLEAN", {"register": "HoldingRegister", "offset": 2, "bit": 0})
    async with hostile(registers.answer) as port:
        session = await MAPPER.connect(at(port))
        for _ in range(2):
            await session.write(point(1, scale=1), Decimal(9))
        assert [pdu[0] for pdu in registers.asked_for] == [6, 16, 16]  # what it lacks is remembered
        registers.lacks = {22}
        await session.write(bit, True)
        assert [pdu[0] for pdu in registers.asked_for[3:]] == [22, 3, 6]
        assert registers.registers == {0: 0, 1: 9, 2: 3, 3: 3}
        registers.lacks = {6, 16, 22}
        with pytest.raises(PropertyError, match="illegal function"):
            await session.write(bit, False)
        with pytest.raises(PropertyError, match="illegal function"):
            await session.write(point(1, scale=1), Decimal(8))
        with pytest.raises(PropertyError, match="has no function to write this"):
            await session.write(point(1, scale=1), Decimal(8))
        await session.aclose()


async def test_a_bit_leaves_the_others_alone(hostile: Any, bank_of: Any) -> None:
    registers = bank_of(3)
    async with hostile(registers.answer) as port:
        session = await MAPPER.connect(at(port))
        await session.write(MAPPER.point("BOOLEAN", {"register": "HoldingRegister", "offset": 2, "bit": 8}), True)
        assert [pdu[0] for pdu in registers.asked_for] == [22]
        assert registers.registers[2] == 2 + 256
        await session.aclose()


async def test_nonsense_has_the_name_of_the_device(hostile: Any) -> None:
    async def web(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with hostile(web) as port:
        session = await MAPPER.connect(at(port))
        with pytest.raises(ProtocolError, match=r"127\.0\.0\.1:\d+ unit 1 answers with transaction"):
            await session.read([point(0)])
        with pytest.raises(ProtocolError, match="unit 1 answers with transaction"):
            await session.write(point(0), Decimal(1))
        await session.aclose()
