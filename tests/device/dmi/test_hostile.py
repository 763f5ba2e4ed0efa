"""Whoever may open the mappers' socket says what follows no protocol: mappers go on being served."""

import logging
import socket
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from edged.device.dmi.server import Said
from tests.device.dmi.test_server import MapperProcess, in_thread, interface  # noqa: F401  a fixture

FRAMES = 50_000
CHECKED = 500  # connections, then a real mapper is asked again
SEED = 7


def said_by(mapper: Any) -> None:
    """All that a mapper says, once."""
    twin = {"propertyName": "temperature", "reported": {"value": "1", "metadata": {"timestamp": "1000"}}}
    mapper.call(
        "MapperRegister", withData=True, mapper={"name": "own", "protocol": "own", "address": str(mapper.address).encode()}
    )
    mapper.call("ReportDeviceStatus", deviceName="pump", deviceNamespace="default", reportedDevice={"twins": [twin]})
    mapper.call("ReportDeviceStates", deviceName="pump", state="online")


async def recorded(directory: Path) -> bytes:
    """What a real mapper sends in that, as bytes of HTTP/2."""
    near = directory / "near"
    near.mkdir()
    said = bytearray()

    async def talk(client: trio.SocketStream) -> None:
        async def back() -> None:
            async for data in server:
                await client.send_all(data)

        server = await trio.open_unix_socket(directory / "dmi.sock")
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(back)
            async for data in client:
                said.extend(data)
                await server.send_all(data)
            nursery.cancel_scope.cancel()

    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(near / "dmi.sock"))
        listener.listen(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, talk, [trio.SocketListener(listener)])
            mapper = await in_thread(MapperProcess, near)
            mapper.address = directory / "own.sock"
            await in_thread(said_by, mapper)
            await in_thread(mapper.stop)
            nursery.cancel_scope.cancel()
    return bytes(said)


PREFACE = 24  # bytes before the first frame (RFC 9113, 3.4)


def frames(said: bytes) -> list[bytes]:
    """HTTP/2 frames: 9 bytes of head, of which three are the size."""
    found, at = [], PREFACE
    while at < len(said):
        end = at + 9 + int.from_bytes(said[at : at + 3], "big")
        found.append(said[at:end])
        at = end
    return found


def damaged(frame: bytes, random: Random) -> bytes:
    """Bits flipped in what it says, or all of it cut, doubled or drawn."""
    made, kind = bytearray(frame), random.randrange(5)
    at = random.randrange(len(made))
    if kind < 3 and len(made) > 9:  # most of it stays a frame
        made[random.randrange(9, len(made))] = random.randrange(256)
    elif kind == 3:
        del made[at:]
    else:
        made[at:at] = random.randbytes(random.randint(1, 8))
    return bytes(made)


async def test_fifty_thousand_damaged_frames(interface: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    caplog.set_level(logging.CRITICAL + 1)  # the library writes down each
    room, dmi, mapper = interface
    said = await recorded(tmp_path)
    whole, random, count, rounds = frames(said), Random(SEED), 0, 0
    assert len(whole) > 5
    while count < FRAMES:
        stream = await trio.open_unix_socket(tmp_path / "dmi.sock")
        async with stream:
            bad = random.randrange(len(whole))
            sent = [damaged(each, random) if number >= bad else each for number, each in enumerate(whole)]
            count += len(whole) - bad
            try:
                await stream.send_all(said[:PREFACE] + b"".join(sent))
                await stream.send_eof()
                with trio.move_on_after(0.001):
                    await stream.receive_some()
            except trio.BrokenResourceError:
                pass  # it has heard enough
        rounds += 1
        if rounds % CHECKED == 0:
            room.said.clear()
            await in_thread(said_by, mapper)
            assert ("default", "pump", Said("temperature", "1", 1000)) in room.said
            assert "own" in dmi.mappers
