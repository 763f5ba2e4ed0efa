"""Links between groups: real hubs on loopback, and a relay that introduces a few of each group to each other."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from edged.errors import DeniedError
from edged.hub import linker
from edged.hub.hub import Hub
from edged.hub.stream import LinkStream
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, Logs, Opened, Sync, Tunnel
from edged.wire.relay import Absence, Presence

Until = Callable[[Callable[[], bool]], Awaitable[None]]
SYNC = Sync(1)


async def agree(peer: str, _opening: Any, stream: LinkStream) -> None:
    """Agree, say who asked, and wait for the end."""
    await stream.send_all(framed(ANSWER.encode(Opened())) + peer.encode())
    async for _ in stream:
        pass


HANDLERS = {Sync: agree, Tunnel: agree, Logs: agree}


async def abroad(hub: Hub, *names: str) -> None:
    """Wait until these are the linked nodes of other groups."""
    with trio.fail_after(60):
        known = hub.abroad
        while known != frozenset(names):
            known = await hub.abroad_changed(known)


async def says(hub: Hub, peer: str, name: str) -> None:
    """A stream for replication to `peer` comes from who is called `name` there."""
    with trio.fail_after(60):
        async with await hub.open_stream(peer, SYNC) as stream:
            heard = b""
            while heard != name.encode():
                heard += await stream.receive_some()


async def test_the_contacts_of_two_groups_are_linked_and_the_rest_is_not(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, until: Until
) -> None:
    relay = await start_relay(acme.verifier)
    async with AsyncExitStack() as stack:
        hubs: dict[str, Hub] = {}

        async def start(name: str, group: str) -> None:
            started = start_hub(acme.identity(name, group), acme.verifier, relays=[relay.url], handlers=HANDLERS)
            hub, _ = await stack.enter_async_context(started)
            hubs[f"{group}/{name}"] = hub
            await until(lambda: hub.statistics().relay is not None)

        for name in ("gw-a", "gw-b", "gw-c"):
            await start(name, "site")
        await start("gw-a", "yard")
        await abroad(hubs["yard/gw-a"], "site/gw-a", "site/gw-b")
        await abroad(hubs["site/gw-a"], "yard/gw-a")
        await abroad(hubs["site/gw-b"], "yard/gw-a")
        await look.linked(hubs["site/gw-a"], "gw-b", "gw-c")
        assert hubs["site/gw-c"].abroad == hubs["yard/gw-a"].linked == hubs["yard/gw-a"].known == frozenset()
        await says(hubs["yard/gw-a"], "site/gw-b", "yard/gw-a")
        await says(hubs["site/gw-a"], "yard/gw-a", "site/gw-a")
        async with await hubs["site/gw-a"].open_stream("yard/gw-a", Tunnel("default", "web", 80, "web-0")):
            pass
        with pytest.raises(DeniedError, match="no Logs streams are served here to another group"):
            await hubs["site/gw-a"].open_stream("yard/gw-a", Logs("default", "web-0", "c"))
        subject = hubs["site/gw-a"].subject("yard/gw-a")
        assert subject is not None
        assert (subject.group, subject.name) == ("yard", "gw-a")
        assert hubs["site/gw-a"].subject("yard/gw-b") is None


async def test_when_a_contact_goes_the_next_takes_its_place_and_it_is_forgotten(
    acme: Any, start_hub: Any, start_relay: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linker, "LOOK_S", 0.1)
    relay = await start_relay(acme.verifier)

    def hub(name: str, group: str) -> Any:
        return start_hub(acme.identity(name, group), acme.verifier, relays=[relay.url], handlers=HANDLERS)

    async with hub("gw-x", "yard") as (yard, _):
        async with hub("gw-a", "site") as (first, _):
            await abroad(first, "yard/gw-x")
            async with hub("gw-b", "site") as (second, _):
                await abroad(second, "yard/gw-x")
                async with hub("gw-c", "site") as (third, _):
                    await until(lambda: third.linked == {"gw-a", "gw-b"})
                    assert yard.abroad == {"site/gw-a", "site/gw-b"}
                    assert third.abroad == frozenset()
            await abroad(yard, "site/gw-a")
        await abroad(yard)
        await until(lambda: not yard._linker.peers)  # type: ignore[union-attr]


async def test_a_link_that_neither_end_wants_any_more_is_no_neighbour(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, until: Until
) -> None:
    relay = await start_relay(acme.verifier)
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url]) as (site, _),
        start_hub(acme.identity("gw-x", "yard"), acme.verifier, relays=[relay.url]) as (yard, _),
    ):
        await abroad(site, "yard/gw-x")
        await abroad(yard, "site/gw-a")
        look.inner(site)._relay_told(Absence("yard/gw-x", "yard"))
        assert site.abroad == {"yard/gw-x"}  # the other end still wants it
        look.inner(yard)._relay_told(Absence("site/gw-a", "site"))
        await abroad(site)
        await abroad(yard)
        assert len(site.statistics().links) == 1  # it is closed when nothing was carried for a while


async def test_links_between_groups_outlive_the_relay(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, until: Until
) -> None:
    relay = await start_relay(acme.verifier)
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url], handlers=HANDLERS) as (site, _),
        start_hub(acme.identity("gw-x", "yard"), acme.verifier, relays=[relay.url], handlers=HANDLERS) as (yard, _),
    ):
        await until(lambda: bool(site.abroad and yard.abroad) and look.path(site) == look.path(yard) == "lan")
        await relay.stop()
        await until(lambda: site.statistics().relay is yard.statistics().relay is None)
        look.inner(site)._forget_abroad()
        assert site.abroad == {"yard/gw-x"}
        await says(site, "yard/gw-x", "site/gw-a")


async def test_who_is_introduced_no_more_after_a_relay_came_back_is_forgotten(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, until: Until
) -> None:
    relay = await start_relay(acme.verifier)
    async with start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url]) as (site, _):
        inner = look.inner(site)
        await until(lambda: site.statistics().relay is not None)
        inner._relay_told(Presence("yard/gw-x", 1))
        inner._relay_lost()
        inner._forget_abroad()
        assert inner.peers["yard/gw-x"].wanted  # the others may be on their way back, too
        inner._welcomed -= linker.RETURN_S
        await until(lambda: not inner.switch.to("yard/gw-x"))
        inner._forget_abroad()
        assert inner.peers == {}


async def test_a_configured_node_of_another_group_needs_no_relay(acme: Any, start_hub: Any) -> None:
    yard = start_hub(acme.identity("gw-x", "yard"), acme.verifier, handlers=HANDLERS)
    async with yard as (there, address):
        peers = {"yard/gw-x": [str(address)]}
        async with start_hub(acme.identity("gw-a"), acme.verifier, peers=peers, handlers=HANDLERS) as (here, _):
            await abroad(here, "yard/gw-x")
            await abroad(there, "site/gw-a")
            await says(there, "site/gw-a", "yard/gw-x")


async def test_what_a_relay_may_not_announce(acme: Any, look: Any, start_hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linker, "MAX_ABROAD", 2)
    async with start_hub(acme.identity("gw-a"), acme.verifier) as (hub, _):
        inner = look.inner(hub)
        for node in ("site/gw-b", "Yard/gw-b", "yard/gw_b", "a/b/c", "/gw-b", "yard/", "gw-a"):
            inner._relay_told(Presence(node, 1))
        assert inner.peers == {}
        for node in ("yard/gw-a", "yard/gw-b", "yard/gw-c", "gw-b"):
            inner._relay_told(Presence(node, 1))
        assert set(inner.peers) == {"yard/gw-a", "yard/gw-b", "gw-b"}
        assert hub.known == {"gw-b"}
