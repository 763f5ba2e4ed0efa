"""Groups that replicate with each other: real stores, links and a relay on loopback; and who is replicated with."""

import datetime
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from edged.errors import DeniedError, ProtocolError
from edged.hub.hub import Handler, Hub
from edged.identity.authority import Authority
from edged.identity.certificates import EVERY, Subject
from edged.identity.keyring import Keyring
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.model.objects import Key, dump
from edged.store.store import MEMORY, Store, open_store
from edged.store.writes import Create, Delete, Put
from edged.sync.abroad import Abroad, Common
from edged.sync.clock import Clock
from edged.sync.group import Group
from edged.sync.session import Session
from edged.wire.codec import VERSION
from edged.wire.peer import Opening, Sync
from edged.wire.sync import (
    FLEET,
    Delta,
    Found,
    Hello,
    Pulse,
    Pulses,
    Register,
    SyncMessage,
    Vector,
    Want,
    scope_of,
)
from relay.clients import Clients
from relay.core import Relay
from relay.server import Server, listen

DEADLINE_S = 60.0
MODEL = Key("devicemodels.devices.kubeedge.io", "default", "thermometer")
CONFIG = Key("configmaps", "default", "settings")


def node(group: str, *observes: str) -> Subject:
    return Subject("acme", "node", group, "gw", observes=observes)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (node("a"), node("a"), {FLEET, "a"}),
        (node("a"), node("b"), {FLEET}),
        (node("a"), node("cloud", "a"), {FLEET, "a"}),
        (node("cloud", "a"), node("a"), {FLEET, "a"}),
        (node("a"), node("cloud", EVERY), {FLEET, "a"}),
        (node("cloud", "a", "b"), node("cloud", "b"), {FLEET, "cloud", "b"}),
        (node("cloud", EVERY), node("b", "cloud"), {FLEET, "b", "cloud"}),
    ],
)
def test_what_two_nodes_share(one: Subject, other: Subject, shared: set[str]) -> None:
    common = Common(one, other)
    assert {scope for scope in (FLEET, "a", "b", "cloud") if scope in common} == shared


class Named:
    """Links of which a test says where they lead."""

    def __init__(self) -> None:
        self.abroad: frozenset[str] = frozenset()
        self._lot = trio.lowlevel.ParkingLot()

    async def abroad_changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.abroad == before:
            await self._lot.park()
        return self.abroad

    def subject(self, node: str) -> Subject | None:
        return None

    def set(self, *nodes: str) -> None:
        self.abroad = frozenset(nodes)
        self._lot.unpark_all()


async def test_who_is_kept_while_it_is_linked() -> None:
    links, kept = Named(), set[str]()

    async def keep(peer: str) -> None:
        kept.add(peer)
        try:
            await trio.sleep_forever()
        finally:
            kept.discard(peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Abroad(node("m"), links).run, keep)
        for there, expected in (
            (["a/x", "n/x", "z/x"], {"n/x", "z/x"}),  # of two the lower name opens the stream
            (["z/x", "z/y"], {"z/x", "z/y"}),
            ([], set()),
            (["z/x"], {"z/x"}),
        ):
            links.set(*there)
            await trio.testing.wait_all_tasks_blocked()
            assert kept == expected
        nursery.cancel_scope.cancel()


class Site:
    """One node: its store, its links, its part in replication."""

    def __init__(self, identity: Identity, store: Store, clock: Clock, relay: str, log: Log) -> None:
        self.scope = trio.CancelScope()
        handlers: dict[type[Opening], Handler] = {}
        verifier = Verifier(identity.authority_pem)
        self.store = store
        self.hub = Hub(
            identity=identity,
            verifier=verifier,
            relays=[relay],
            listen="127.0.0.1:0",
            peers={},
            handlers=handlers,
            log=log,
            random=Random(1),
        )
        keys = Keyring(verifier)
        keys.learn(identity.certificate_der)
        self.group = Group(
            *(store, clock, identity, keys, self.hub),
            random=Random(1),
            log=log,
            abroad=Abroad(identity.subject, self.hub),
        )
        handlers[Sync] = self.group.replicator.serve

    async def until(self, condition: Callable[[Store], Any]) -> None:
        with trio.fail_after(DEADLINE_S):
            while not condition(self.store):
                await self.store.changed(self.store.revision)

    @property
    def scopes(self) -> set[str]:
        return {scope_of(origin) for origin in self.store.held()}


class Fleet:
    """Nodes of several groups and their relay."""

    def __init__(self, directory: Path) -> None:
        self._authority = Authority.create(directory, "acme", datetime.datetime.now(datetime.UTC))
        self._stack = AsyncExitStack()
        self._relay = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fleet"]:
        relay, log = Relay(Verifier(self._authority.certificate_pem)), Log(level="error")
        listeners = await listen(Address("127.0.0.1", 0))
        self._relay = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        server = Server(relay, Clients(relay, random=Random(1), log=log), listeners, None, most=100, log=log)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with self._stack:
                yield self
            nursery.cancel_scope.cancel()

    async def start(self, group: str, name: str, *observes: str, store: Store | None = None) -> Site:
        now = datetime.datetime.now(datetime.UTC)
        identity = Identity(self._authority.issue(name, group, (), now, observes=observes))
        clock = Clock(time.time)
        if store is None:
            opened = open_store(MEMORY, origin=name, group=group, sign=identity.seal, stamp=clock.stamp, executor=Inline())
            store = await self._stack.enter_async_context(opened)
        nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._stack.callback(nursery.cancel_scope.cancel)
        site = Site(identity, store, clock, self._relay, Log(level="error", stream=io.StringIO()))
        site.scope = nursery.cancel_scope
        await nursery.start(site.hub.run)
        await nursery.start(site.group.run)
        with trio.fail_after(DEADLINE_S):
            while site.hub.statistics().relay is None:  # noqa: ASYNC110  contacts are those that came first
                await trio.sleep(0.01)
        return site


def value(said: str) -> bytes:
    return dump({"apiVersion": "v1", "kind": "X", "metadata": {"annotations": {"said": said}}})


def says(store: Store, key: Key) -> str | None:
    there = store.get(key)
    return None if there is None else str(json.loads(there.body)["metadata"]["annotations"]["said"])


async def test_the_fleets_objects_go_everywhere_and_a_groups_to_its_own_and_its_observers(tmp_path: Path) -> None:
    async with Fleet(tmp_path / "fleet").running() as fleet:
        one, two = await fleet.start("site-1", "gw-a"), await fleet.start("site-1", "gw-b")
        third = await fleet.start("site-1", "gw-c")  # no contact: what is the fleet's comes to it through its group
        yard = await fleet.start("site-2", "gw-a")
        watching = await fleet.start("cloud", "obs", "site-1")
        everywhere = (one, two, third, yard, watching)
        await third.store.write(Create(MODEL, "u", value("first"), None), Create(CONFIG, "c", value("ours"), None))
        for site in everywhere:
            await site.until(lambda store: says(store, MODEL) == "first")
        await yard.store.write(Put(MODEL, value("second")))
        for site in everywhere:
            await site.until(lambda store: says(store, MODEL) == "second")
        await two.until(lambda store: says(store, CONFIG) == "ours")
        await watching.until(lambda _: "site-1" in watching.scopes)
        assert yard.scopes == {FLEET}
        assert watching.scopes == {FLEET, "site-1"}
        assert yard.store.get(CONFIG) is watching.store.get(CONFIG) is None  # another group's are not in view
        await watching.store.write(Delete(MODEL))
        for site in everywhere:
            await site.until(lambda store: store.get(MODEL) is None)
        for site in everywhere:
            members = {name for name in ("gw-a", "gw-b", "gw-c", "obs") if name in site.group.membership.view.members}
            assert members == ({"gw-a", "gw-b", "gw-c"} if site in (one, two, third) else members)
            assert len(members) in (1, 3)
            assert not any("/" in name for name in site.group.membership.view.members)


async def test_a_group_that_was_away_for_long_and_its_observer_take_fresh_copies(tmp_path: Path) -> None:
    async with Fleet(tmp_path / "fleet").running() as fleet:
        one = await fleet.start("site-1", "gw-a")
        lonely, watching = await fleet.start("site-2", "gw-x"), await fleet.start("cloud", "obs", "site-1")
        await one.store.write(Create(MODEL, "u", value("here"), None), Create(CONFIG, "c", value("ours"), None))
        await lonely.until(lambda store: says(store, MODEL) == "here")
        await watching.until(lambda store: store.get(CONFIG, "site-1"))
        for site in (lonely, watching):
            site.scope.cancel()
        with trio.fail_after(DEADLINE_S):
            while one.hub.abroad:
                await one.hub.abroad_changed(one.hub.abroad)
        await one.store.write(Delete(MODEL), Delete(CONFIG))
        assert await one.store.forget(one.store.latest_clock + (1 << 62)) == 2
        back, again = (
            await fleet.start("site-2", "gw-x", store=lonely.store),
            await fleet.start("cloud", "obs", "site-1", store=watching.store),
        )
        await back.until(lambda store: store.get(MODEL) is None)
        await again.until(lambda store: store.get(MODEL) is None and not store.get(CONFIG, "site-1"))


def dialogue(peer: str, scopes: tuple[str, ...] = (), *, limited: bool = False, known: Keyring) -> Session:
    """One that has begun, with a peer that holds nothing."""
    session = Session(peer, limited=limited, scopes=scopes, clock=Clock(lambda: 1000.0), keys=known)
    session.receive(Hello(VERSION, 1000.0, []), {})
    session.receive(Vector({}, {}, 0), {})
    return session


HELD = {"site/gw-a:1": 5, "*/site/gw-a:1": 2, "yard/gw-x:1": 7, "site/gw-a:1~3": 1}


def test_with_another_group_the_fleets_objects_are_shared_and_no_more(keyring: Callable[..., Keyring]) -> None:
    session = dialogue("yard/gw-x", known=keyring("gw-a"))
    assert session.vector(HELD, HELD) == Vector({"*/site/gw-a:1": 2}, {"*/site/gw-a:1": 2}, 0)
    assert session.lacking(HELD, {}) == [("*/site/gw-a:1", 0)]
    assert session.untold([Pulse("gw-a", 1, 1, 1000.0, 10.0)]) == []
    assert session.wanted([("site", *CONFIG, "body"), ("*", *MODEL, "body")]) == [("*", *MODEL, "body")]


def test_an_observer_is_told_what_it_observes(keyring: Callable[..., Keyring]) -> None:
    session = dialogue("cloud/obs", ("site",), known=keyring("gw-a"))
    assert {origin for origin, _ in session.lacking(HELD, {})} == {"*/site/gw-a:1", "site/gw-a:1", "site/gw-a:1~3"}


def register(origin: str, key: Key) -> Register:
    return Register(*key, "body", "u", origin, 1, 1, b"{}")


@pytest.mark.parametrize(
    "said",
    [
        Delta("site/gw-a:1", 0, 1, [register("site/gw-a:1", CONFIG)]),
        Delta("yard/gw-a:1", 0, 1, [register("yard/gw-a:1", CONFIG)]),
        Pulses([Pulse("gw-a", 1, 1, 1000.0, 10.0)]),
        Want([("site", *CONFIG, "body")]),
        Want([("*", *MODEL, "body"), ("yard", *CONFIG, "body")]),
        Found([register("site/gw-a:1", CONFIG)]),
    ],
)
def test_what_another_group_may_not_say(keyring: Callable[..., Keyring], said: SyncMessage) -> None:
    with pytest.raises(ProtocolError):
        dialogue("yard/gw-x", known=keyring("gw-a")).receive(said, {})


def test_the_clocks_of_other_groups_are_no_measure(keyring: Callable[..., Keyring]) -> None:
    clock = Clock(lambda: 1000.0)
    for peer, heard in (("yard/gw-x", 0.0), ("gw-a", 500.0)):
        session = Session(peer, limited=False, scopes=(), clock=clock, keys=keyring())
        session.receive(Hello(VERSION, 1500.0, []), {})
        assert -clock.ahead == heard
    with pytest.raises(DeniedError, match="the clock of yard/gw-x is"):
        Session("yard/gw-x", limited=False, scopes=(), clock=clock, keys=keyring()).receive(Hello(VERSION, 9000.0, []), {})
