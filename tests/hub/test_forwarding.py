from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio

from edged.errors import ProtocolError
from edged.hub.forwarding import Forwarding
from edged.hub.relaylink import RelayLink
from edged.hub.relayspeech import Told, Welcomed
from edged.kit.address import Address
from edged.kit.log import Log
from edged.kit.udp import UdpSocket
from edged.wire.relay import Allotted, Presence
from edged.wire.relayudp import is_ours

DEADLINE_S = 30.0
Until = Callable[[Callable[[], bool]], Awaitable[None]]


class Node:
    """A node's relay link, UDP socket and forwarding, as the linker puts them together; it `wants` a way to some."""

    def __init__(self, url: str, identity: Any) -> None:
        log = Log(level="error")
        self.udp = UdpSocket(Address("127.0.0.1", 0))
        self.wants: set[str] = set()
        self.present: set[str] = set()
        self.link = RelayLink([url], identity=identity, told=self._told, lost=self._lost, random=Random(1), log=log)
        self.forwards: dict[str, Address | None] = {}
        self.observed = 0
        self.received: list[tuple[bytes, Address]] = []
        self.forwarding = Forwarding(
            self.udp,
            self.link,
            wanting=lambda: self.wants & self.present,
            observed=self._was_observed,
            forwards=self.forwards.__setitem__,
            random=Random(1),
        )

    def want(self, *nodes: str) -> None:
        self.wants = set(nodes)
        self.forwarding.look()

    def _was_observed(self) -> None:
        self.observed += 1

    def _told(self, message: Told) -> None:
        if isinstance(message, Welcomed):
            self.forwarding.welcomed(message)
        elif isinstance(message, Allotted):
            self.forwarding.allotted(message.node, message.port)
        elif isinstance(message, Presence):
            self.present.add(message.node)
            self.forwarding.look()

    def _lost(self) -> None:
        self.present.clear()
        self.forwarding.lost()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.link.run)
            nursery.start_soon(self.forwarding.run)
            while True:
                await self.udp.readable()
                while (got := self.udp.receive()) is not None:
                    if is_ours(got[0]):
                        self.forwarding.receive(got[0], got[2], trio.current_time())
                    else:
                        self.received.append((got[0], got[2]))


@asynccontextmanager
async def nodes(relay: Any, acme: Any) -> AsyncIterator[tuple[Node, Node]]:
    a, b = Node(relay.url, acme.identity("gw-a")), Node(relay.url, acme.identity("gw-b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.run)
        nursery.start_soon(b.run)
        yield a, b
        nursery.cancel_scope.cancel()
    a.udp.close()
    b.udp.close()


async def test_two_nodes_reach_each_other_through_the_relays_port(acme: Any, start_relay: Any, until: Until) -> None:
    relay = await start_relay(acme.verifier)
    async with nodes(relay, acme) as (a, b):
        a.want("gw-b")
        b.want("gw-a")
        await until(lambda: bool(a.forwards and b.forwards))
        assert (a.forwarding.observed, b.forwarding.observed) == ((a.udp.address,), (b.udp.address,))
        assert a.observed == b.observed == 1
        port = a.forwarding.address("gw-b")
        assert port is not None
        assert a.forwards == {"gw-b": port}
        assert b.forwards == {"gw-a": port}
        for one, other in ((a, b), (b, a)):
            one.udp.send(port, [b"hello"])
            await until(lambda other=other: other.received == [(b"hello", port)])
        assert not a.forwarding.blocked


async def test_nothing_is_asked_while_no_link_wants_it(acme: Any, start_relay: Any, until: Until) -> None:
    relay = await start_relay(acme.verifier)
    async with nodes(relay, acme) as (a, b):
        await until(lambda: bool(a.present and b.present))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert relay.relay.forwarder.answered == 0
        assert relay.relay.forwarder.ports == 0
        a.want("gw-b")
        await until(lambda: a.observed == 1)
        a.forwarding.moved()
        await until(lambda: relay.relay.forwarder.answered >= 4)


async def test_what_the_relay_gave_goes_with_it_and_comes_again(acme: Any, start_relay: Any, until: Until) -> None:
    relay = await start_relay(acme.verifier)
    async with nodes(relay, acme) as (a, b):
        a.want("gw-b")
        b.want("gw-a")
        await until(lambda: bool(a.forwards.get("gw-b") and b.forwards.get("gw-a")))
        await relay.stop()
        await until(lambda: a.forwards["gw-b"] is None and b.forwards["gw-a"] is None)
        assert a.forwarding.observed == ()
        again = await start_relay(acme.verifier, int(relay.url.rpartition(":")[2]))
        await until(lambda: bool(a.forwards["gw-b"] and b.forwards["gw-a"]))
        again.relay.forwarder.leave(max(again.relay.forwarder._members))
        a.forwarding.parted("gw-b")
        assert a.forwards["gw-b"] is None


async def test_what_did_not_come_from_the_relay_is_refused(acme: Any, start_relay: Any, until: Until) -> None:
    relay = await start_relay(acme.verifier)
    async with nodes(relay, acme) as (a, _):
        await until(lambda: a.link.url is not None)
        with pytest.raises(ProtocolError):
            a.forwarding.receive(b"\x2feu1" + bytes(67), Address("127.0.0.1", 9), trio.current_time())
