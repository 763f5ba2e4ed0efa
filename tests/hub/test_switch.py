import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from edged.hub.connection import Connection
from edged.hub.switch import MAX_STRANGERS

Until = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_garbage_is_dropped_and_counted(acme: Any, look: Any, start_hub: Any, until: Until) -> None:
    garbage = [
        b"",
        b"\x00",
        b"\x2eep1" + bytes(60),
        b"\x40" + bytes(30),
        b"\xc0\x00\x00\x00\x01\x08" + bytes(20),
        b"\xff" * 1400,
    ]
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in garbage:
                stranger.sendto(data, address)
        await until(lambda: sum(b.statistics().dropped.values()) == len(garbage))
        dropped = b.statistics().dropped
        assert (dropped["empty"], dropped["probe"], dropped["no such link"], dropped["not QUIC"]) == (1, 2, 2, 1)
        await look.says(a, "gw-b")


async def test_strangers_fill_a_bounded_number_of_places(acme: Any, look: Any, start_hub: Any, until: Until) -> None:
    async with start_hub(acme.identity("gw-b"), acme.verifier) as (b, address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(MAX_STRANGERS + 10):
                initial = b"\xc0\x00\x00\x00\x01\x08" + number.to_bytes(8, "big") + b"\x08" + bytes(8) + b"\x00\x44\x9e"
                stranger.sendto(initial.ljust(1200, b"\x00"), address)
            await until(lambda: b.statistics().dropped.get("too many unproved") == 10)
        assert len(look.inner(b).switch.connections) == MAX_STRANGERS


async def test_the_relay_cannot_hand_a_link_to_another_node(acme: Any, look: Any, start_hub: Any) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        await look.linked(b, "gw-a")
        switch = look.inner(b).switch
        (connection,) = switch.connections
        received = connection.link.bytes_received
        datagram = b"\x40" + connection.link.connection_id + bytes(30)
        switch.from_relay("gw-c", [datagram, b"", b"\x2eep1" + bytes(60)])
        assert connection.link.bytes_received == received
        assert b.statistics().dropped["another node's link"] == 1
        assert b.statistics().dropped["not QUIC"] == 2  # probes come by UDP only
        switch.from_relay("gw-a", [datagram])
        assert connection.link.bytes_received == received + len(datagram)
        switch.from_relay("gw-a", [datagram] * 5)
        assert connection.link.bytes_received == received + 6 * len(datagram)
        await look.says(a, "gw-b")


async def test_a_burst_of_several_links_is_taken_apart(acme: Any, look: Any, start_hub: Any) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(b, "gw-a")
        switch = look.inner(b).switch
        (connection,) = switch.connections
        received = connection.link.bytes_received
        ours = b"\x40" + connection.link.connection_id + bytes(41)
        theirs = b"\x40otherone" + bytes(41)
        probe = b"\x2eep1" + bytes(46)
        switch._from_udp(ours + theirs + probe + ours[:20], 50, look.inner(a).address, trio.current_time())
        assert connection.link.bytes_received == received + 50 + 20
        dropped = b.statistics().dropped
        assert (dropped["no such link"], dropped["probe"]) == (1, 1)


async def test_idle_hubs_rest(acme: Any, look: Any, start_hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = 0
    tick = Connection.tick

    def counted(connection: Connection, now: float) -> None:
        nonlocal ticks
        ticks += 1
        tick(connection, now)

    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (_, _),
    ):
        await look.linked(b, "gw-a")
        await trio.sleep(1.0)
        monkeypatch.setattr(Connection, "tick", counted)
        await trio.sleep(4.0)
        assert ticks < 60  # pings, acknowledgements and probes of two hubs; a spinning timer makes thousands
