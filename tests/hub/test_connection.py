import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.wire.peer import Tunnel

Until = Callable[[Callable[[], bool]], Awaitable[None]]
WEB = Tunnel("default", "web", 80, "web-1")


async def test_a_link_by_the_relay_becomes_direct_and_outlives_the_relay(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, until: Until
) -> None:
    relay = await start_relay(acme.verifier)
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url]) as (a, _),
        start_hub(acme.identity("gw-b"), acme.verifier, relays=[relay.url]) as (b, _),
    ):
        await look.linked(a, "gw-b")
        await look.linked(b, "gw-a")
        await until(lambda: look.path(a) == look.path(b) == "lan")
        stream = await a.open_stream("gw-b", WEB)
        await relay.stop()
        await until(lambda: a.statistics().relay is None and b.statistics().relay is None)
        await stream.send_all(b"still here")
        await stream.send_eof()
        assert b"".join([data async for data in stream]) == b"still here"
        await stream.aclose()
        await look.says(b, "gw-a")
        assert look.path(a) == "lan"


async def test_a_stream_lives_on_by_the_relay_when_the_direct_path_is_cut(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, until: Until
) -> None:
    relay = await start_relay(acme.verifier)
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url]) as (a, _),
        start_hub(acme.identity("gw-b"), acme.verifier, relays=[relay.url]) as (b, _),
    ):
        await look.linked(a, "gw-b")
        await look.linked(b, "gw-a")
        await until(lambda: look.path(a) == look.path(b) == "lan")
        stream = await a.open_stream("gw-b", WEB)
        mends = [look.cut(a), look.cut(b)]
        for _ in range(20):
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"ping"
        await until(lambda: look.path(a) == look.path(b) == "relay-ws")
        for mend in mends:
            mend()
        await until(lambda: look.path(a) == look.path(b) == "lan")
        await stream.send_all(b"pong")
        assert await stream.receive_some() == b"pong"
        await stream.aclose()


@pytest.mark.parametrize("mtu", [65507, 1250])
async def test_a_link_whose_only_way_is_narrow_or_becomes_so(
    acme: Any, look: Any, start_hub: Any, start_way: Any, mtu: int
) -> None:
    text = bytes(range(256)) * 2000
    async with start_hub(acme.identity("gw-b"), acme.verifier) as (b, address):
        way = start_way(address, mtu)
        async with start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(way.address)]}) as (a, _):
            await look.linked(a, "gw-b")
            await look.linked(b, "gw-a")
            await look.says(a, "gw-b", text)
            way.most = 1250
            await look.says(a, "gw-b", text)
            await look.says(b, "gw-a", text)
            since = {link.since for hub in (a, b) for link in hub.statistics().links}
            way.most = 65507
            await look.says(a, "gw-b", text)
            assert {link.since for hub in (a, b) for link in hub.statistics().links} == since, "the link lived on"


async def test_a_lost_link_breaks_its_streams(acme: Any, look: Any, start_hub: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [f"127.0.0.1:{port}"]}) as (a, _):
        async with start_hub(acme.identity("gw-b"), acme.verifier, port=port):
            await look.linked(a, "gw-b")
            stream = await a.open_stream("gw-b", WEB)
        why = r"link lost|reset the stream|reads no more"
        with pytest.raises(trio.BrokenResourceError, match=why):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError, match=why):
            while True:
                await stream.send_all(b"x")
        await stream.aclose()
        await look.linked(a)
        with pytest.raises(UnreachableError):
            await a.open_stream("gw-b", WEB)
