import asyncio
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio

from edged.device.mapper import Mappers, Want
from edged.device.opcua import connection
from edged.errors import ProtocolError, UnreachableError

NONE = Decimal(0)
SECURE = {"securityPolicy": "Basic256Sha256", "securityMode": "SignAndEncrypt", "userName": "operator"}


@pytest.mark.parametrize(
    ("forget", "expected"),
    [
        ("", ["-32", *map(str, range(30))]),  # the session is gone on with
        ("forget all", ["-32", *map(str, range(10)), "29 after a gap"]),  # nothing is left: what is there now
    ],
)
async def test_what_changes_while_the_channel_is_broken_comes_later(
    opcua: Any, opcua_servers: Any, node: Any, ear: Any, forget: str, expected: list[str]
) -> None:
    server = opcua_servers()
    address = opcua.address({"url": server.url})
    wants = [Want(node("INT", "int32"), 0.1, NONE)]
    heard = ear()
    session = await opcua.connect(address)
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, wants)
        for value in range(10):
            server.tell(f"set int32 {value}")
        await heard.until(lambda: len(heard.found) == 11)
        server.tell("drop")
        await heard.until(lambda: bool(heard.error))
        nursery.cancel_scope.cancel()
    await session.aclose()
    assert server.url in heard.error
    for value in range(10, 30):
        server.tell(f"set int32 {value}")
    if forget:
        server.tell(forget)
    session = await opcua.connect(address)
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, wants)
        await heard.until(lambda: heard.values()[-1] == expected[-1])
        server.tell("set int32 100")
        await heard.until(lambda: heard.values()[-1] == "100")
        nursery.cancel_scope.cancel()
    await session.aclose()
    assert heard.values() == [*expected, "100"]


async def test_a_server_that_hangs(
    opcua: Any, opcua_servers: Any, node: Any, ear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WATCH_S", 0.1)
    server = opcua_servers()
    session = await opcua.connect(opcua.address({"url": server.url, "timeout": 0.3}))
    heard = ear()
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, [Want(node("INT", "int32"), 1, NONE)])
        server.hang()
        await heard.until(lambda: bool(heard.error))
        with pytest.raises(UnreachableError):
            await session.read([node("INT", "int32")])
        nursery.cancel_scope.cancel()
    assert heard.error == f"{server.url} does not answer within 0.3 s"
    with trio.fail_after(10):
        await session.aclose()


async def test_what_changes_after_a_read_that_was_not_answered_comes_later(
    opcua: Any, opcua_servers: Any, node: Any, ear: Any
) -> None:
    server = opcua_servers()
    address, level = opcua.address({"url": server.url, "timeout": 3}), node("INT", "int32")
    wants = [Want(level, 0.1, NONE)]
    heard = ear()
    session = await opcua.connect(address)
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, wants)
        await heard.until(lambda: heard.values() == ["-32"])
        server.hang()
        with pytest.raises(UnreachableError, match="does not answer within 3 s"):
            await session.read([level])
        await heard.until(lambda: bool(heard.error))
        nursery.cancel_scope.cancel()
    await session.aclose()
    server.go_on()
    for value in ("77", "78"):
        server.tell(f"set int32 {value}")
    session = await opcua.connect(address)
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, wants)
        await heard.until(lambda: heard.values()[-1] == "78")
        nursery.cancel_scope.cancel()
    await session.aclose()
    assert heard.values() == ["-32", "77", "78"]


async def test_security_and_users(opcua_servers: Any, tmp_path: Path) -> None:
    server = opcua_servers(secure=True)
    mappers = Mappers(tmp_path / "node")
    opcua = mappers.find("opcua")
    place = opcua.point("INT", {"nodeID": "ns=2;s=int32"})
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    for how in ({"password": "s3cret"}, {"passwordFile": str(secret)}, {"password": "s3cret", "securityMode": "Sign"}):
        session = await opcua.connect(opcua.address({"url": server.url, **SECURE, **how}))
        assert (await session.read([place]))[0].value == -32
        await session.aclose()
    with pytest.raises(UnreachableError, match=r"refuses: .* \(BadUserAccessDenied\)") as refused:
        await opcua.connect(opcua.address({"url": server.url, **SECURE, "password": "wr0ng"}))
    assert "wr0ng" not in str(refused.value)
    with pytest.raises(UnreachableError, match=f"passwordFile {tmp_path}/none: .*No such file"):
        await opcua.connect(opcua.address({"url": server.url, **SECURE, "passwordFile": f"{tmp_path}/none"}))
    with pytest.raises(ProtocolError, match="No matching endpoints"):
        await opcua.connect(opcua.address({"url": server.url}))
    (pinned,) = (tmp_path / "node" / "opcua" / "servers").iterdir()
    pinned.write_bytes((tmp_path / "node" / "opcua" / "own.der").read_bytes())
    with pytest.raises(UnreachableError, match="shows another certificate"):
        await opcua.connect(opcua.address({"url": server.url, **SECURE, "password": "s3cret"}))
    await mappers.aclose()


async def serve(opcua: Any, hostile: Any, answer: Any) -> str:
    async with hostile(answer) as port:
        with trio.fail_after(20), pytest.raises((UnreachableError, ProtocolError)) as refused:
            await opcua.connect(opcua.address({"url": f"opc.tcp://127.0.0.1:{port}", "timeout": 0.3}))
    return str(refused.value)


async def test_servers_that_are_none(opcua: Any, hostile: Any) -> None:
    async def silent(_stream: Any, _request: bytes) -> None: ...

    async def slams(stream: Any, _request: bytes) -> None:
        await stream.aclose()

    async def speaks_http(stream: Any, _request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def lies(stream: Any, _request: bytes) -> None:
        await stream.send_all(b"ACKF\xff\xff\xff\x7f" + b"\0" * 40)

    async def refuses(stream: Any, _request: bytes) -> None:
        await stream.send_all(b"ERRF\x10\0\0\0\0\0\x83\x80\xff\xff\xff\xff")

    assert "does not answer within 0.3 s" in await serve(opcua, hostile, silent)
    for answer in (slams, speaks_http, refuses, lies):
        assert "opc.tcp://127.0.0.1:" in await serve(opcua, hostile, answer)
    with pytest.raises(UnreachableError, match="is not reached"):
        await opcua.connect(opcua.address({"url": "opc.tcp://127.0.0.1:1"}))


async def test_half_an_answer_at_each_byte(opcua: Any, hostile: Any) -> None:
    whole = b"ACKF\x1c\0\0\0" + b"\0" * 4 + (65535).to_bytes(4, "little") * 2 + b"\0" * 8

    for size in range(1, len(whole) + 1, 3):

        async def cut(stream: Any, _request: bytes, size: int = size) -> None:
            await stream.send_all(whole[:size])
            await stream.aclose()

        assert "opc.tcp://" in await serve(opcua, hostile, cut)


async def test_nothing_is_left_of_a_connection(opcua: Any, opcua_server: Any) -> None:
    before = threading.active_count()
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    await session.aclose()

    async def left() -> list[str]:
        await asyncio.sleep(0)
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert await opcua.aio.run(left) == []
    assert threading.active_count() - before <= 3  # the loop's, and those that look names up
