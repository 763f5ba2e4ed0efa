import socket
from typing import Any

import pytest
import trio

from edged.device.modbus.address import Network, Patience
from edged.device.modbus.line import Line
from edged.device.modbus.pdu import read
from edged.device.modbus.registers import HOLDING
from edged.device.modbus.rtu import RtuLine
from edged.device.modbus.tcp import TcpLine
from edged.errors import UnreachableError

READ = read(HOLDING, 0, 1)
LONG = Patience(30.0)


def line(port: int) -> Line[Any]:
    return TcpLine(Network("127.0.0.1", port))


async def good(stream: trio.SocketStream, request: bytes) -> None:
    await stream.send_all(request[:4] + b"\0\5" + request[6:8] + b"\2\0\xd2")


async def test_a_name_that_is_none() -> None:
    for name in ("no such host", "ü" * 99, "a\0b"):
        for shared in (TcpLine(Network(name, 1)), RtuLine(Network(name, 1, rtu=True))):
            with pytest.raises(UnreachableError):
                await shared.connect()


async def test_a_connection_that_was_closed_while_idle_is_made_anew(hostile: Any) -> None:
    async def answer_once(stream: trio.SocketStream, request: bytes) -> None:
        await good(stream, request)
        await stream.aclose()

    async with hostile(answer_once) as port:
        shared = line(port)
        for _ in range(5):
            assert await shared.ask(1, READ, LONG) == b"\0\xd2"
        shared.close()


async def test_who_waits_for_a_connection_shares_its_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        shared = line(taken.getsockname()[1])
        told: list[str] = []

        async def connect() -> None:
            with pytest.raises(UnreachableError) as caught:
                await shared.connect()
            told.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(connect)
    assert len(set(told)) == 1
    assert "refused" in told[0]


async def test_retries_are_counted(hostile: Any) -> None:
    asked = 0

    async def third_time(stream: trio.SocketStream, request: bytes) -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            await good(stream, request)

    async with hostile(third_time) as port:
        shared = line(port)
        assert await shared.ask(1, READ, Patience(0.2, retries=2)) == b"\0\xd2"
        shared.close()
    assert asked == 3
