"""What units share: hostile servers behind one port, and what they may not do to each other."""

from typing import Any

import pytest
import trio
import trio.testing

from edged.device.modbus.address import Network, Patience
from edged.device.modbus.pdu import SilentError, read
from edged.device.modbus.registers import HOLDING
from edged.device.modbus.tcp import TcpLine
from edged.errors import ProtocolError, UnreachableError

READ = read(HOLDING, 0, 1)
LONG, SHORT = Patience(30.0), Patience(0.1)
GOOD = b"\0\5\1\3\2\0\xd2"  # after the transaction and protocol: length, unit 1, function, byte count, 210


def line(port: int) -> TcpLine:
    return TcpLine(Network("127.0.0.1", port))


async def good(stream: trio.SocketStream, request: bytes) -> None:
    await stream.send_all(request[:4] + b"\0\5" + request[6:8] + b"\2\0\xd2")


async def test_a_silent_unit_holds_nobody_up(hostile: Any) -> None:
    async def one_is_silent(stream: trio.SocketStream, request: bytes) -> None:
        if request[6] != 9:
            await good(stream, request)

    async with hostile(one_is_silent) as port, trio.open_nursery() as nursery:
        shared = line(port)
        nursery.start_soon(shared.ask, 9, READ, LONG)
        await trio.testing.wait_all_tasks_blocked()
        assert [await shared.ask(unit, READ, LONG) for unit in (1, 2, 3)] == [b"\0\xd2"] * 3
        nursery.cancel_scope.cancel()
        shared.close()


async def test_a_late_answer_goes_to_who_asked(hostile: Any) -> None:
    waits: list[bytes] = []
    found: dict[int, bytes] = {}

    async def in_reverse(stream: trio.SocketStream, request: bytes) -> None:
        waits.append(request)
        if len(waits) == 3:
            for each in reversed(waits):
                await stream.send_all(each[:4] + b"\0\5" + each[6:8] + b"\2\0" + each[6:7])

    async def ask(shared: TcpLine, unit: int) -> None:
        found[unit] = await shared.ask(unit, READ, LONG)

    async with hostile(in_reverse) as port:
        shared = line(port)
        async with trio.open_nursery() as nursery:
            for unit in (1, 2, 3):
                nursery.start_soon(ask, shared, unit)
        assert found == {unit: bytes([0, unit]) for unit in (1, 2, 3)}
        shared.close()


async def test_the_answer_to_one_who_gave_up_is_passed_over(hostile: Any) -> None:
    kept: list[bytes] = []
    asked = trio.Event()

    async def late(stream: trio.SocketStream, request: bytes) -> None:
        if request[6] == 9:
            kept.append(request)
            asked.set()
            return
        for each in kept:
            await good(stream, each)
        kept.clear()
        await good(stream, request)

    async with hostile(late) as port:
        shared = line(port)
        assert await shared.ask(1, READ, LONG) == b"\0\xd2"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(shared.ask, 9, READ, LONG)
            await asked.wait()
            nursery.cancel_scope.cancel()
        for _ in range(2):
            assert await shared.ask(1, READ, LONG) == b"\0\xd2"
        shared.close()


async def test_silence_of_all_makes_a_new_connection(hostile: Any) -> None:
    connections: list[trio.SocketStream] = []

    async def first_is_dead(stream: trio.SocketStream, request: bytes) -> None:
        if stream not in connections:
            connections.append(stream)
        if len(connections) > 1:
            await good(stream, request)

    async with hostile(first_is_dead) as port:
        shared = line(port)
        with pytest.raises(SilentError, match=r"does not answer within 0\.1 s"):
            await shared.ask(1, READ, SHORT)
        assert await shared.ask(1, READ, LONG) == b"\0\xd2"
        shared.close()


async def test_a_drip_of_bytes_does_not_prolong_it(hostile: Any) -> None:
    async def drip(stream: trio.SocketStream, request: bytes) -> None:
        for byte in request[:4] + GOOD[:6]:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.03)

    async with hostile(drip) as port:
        shared = line(port)
        with pytest.raises(SilentError, match=r"does not answer within 0\.1 s"):
            await shared.ask(1, READ, SHORT)
        shared.close()


@pytest.mark.parametrize("size", range(11))
async def test_a_server_that_closes_at_each_byte(hostile: Any, size: int) -> None:
    async def cut(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all((request[:4] + GOOD)[:size])
        await stream.aclose()

    async with hostile(cut) as port:
        shared = line(port)
        if size == 0:
            with pytest.raises(UnreachableError, match="closes the connection instead of an answer"):
                await shared.ask(1, READ, LONG)
        else:
            with pytest.raises(ProtocolError, match=f"closes the connection after {size} bytes of an answer"):
                await shared.ask(1, READ, LONG)


async def test_nonsense_to_one_is_told_to_all_who_wait(hostile: Any) -> None:
    asked = 0
    told: list[str] = []

    async def nonsense(stream: trio.SocketStream, request: bytes) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def ask(shared: TcpLine, unit: int) -> None:
        with pytest.raises(ProtocolError) as caught:
            await shared.ask(unit, READ, LONG)
        told.append(str(caught.value))

    async with hostile(nonsense) as port:
        shared = line(port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, shared, 1)
            nursery.start_soon(ask, shared, 2)
        assert len(told) == 2
        assert all("answers with transaction 18516" in text for text in told)
