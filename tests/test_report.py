"""What a node says of itself, from a real store and a hub that has not begun."""

import io
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edged.errors import UnreachableError
from edged.hub.hub import Hub
from edged.identity.keyring import Keyring
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.mesh.mesh import Mesh
from edged.model.objects import Key, dump
from edged.report import Report
from edged.store.store import MEMORY, Store, open_store
from edged.store.writes import Create
from edged.sync.clock import Clock
from edged.sync.group import Group

NODE = "gw-a"
OTHER = "gw-b"


def pod(name: str, node: str, phase: str) -> Create:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [], "nodeName": node}}
    return Create(Key("pods", "default", name), name, dump(body), dump({"phase": phase}))


def device(name: str, node: str, state: str) -> Create:
    body = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {"name": name}}
    spec = {"nodeName": node}
    return Create(
        Key("devices.devices.kubeedge.io", "default", name), name, dump({**body, "spec": spec}), dump({"state": state})
    )


def node(name: str) -> Create:
    return Create(Key("nodes", "", name), name, dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))


def report(store: Store, identity: Identity, relays: list[str]) -> Report:
    log, random = Log(stream=io.StringIO()), Random(1)
    hub = Hub(
        identity=identity,
        verifier=Verifier(identity.authority_pem),
        relays=relays,
        listen="127.0.0.1:0",
        peers={},
        handlers={},
        log=log,
        random=random,
    )
    clock = Clock(lambda: 0.0)
    group = Group(store, clock, identity, Keyring(Verifier(identity.authority_pem)), hub, random=random, log=log)
    mesh = Mesh(store=store, node=NODE, open_stream=hub.open_stream, root=False, log=log, random=random)
    return Report(identity, store, hub, group, mesh, clock, relays, [counted])


def counted() -> list[tuple[str, str, float, dict[str, str]]]:
    return [("edged_room_things_total", "Things.", 7, {"of": "a room"})]


async def test_what_is_here_is_counted_and_who_is_away_is_named(fleet: Any) -> None:
    numbers = count(1)
    identity = Identity.load(Path(fleet(NODE)))
    async with open_store(MEMORY, origin=NODE, stamp=lambda: next(numbers), executor=Inline()) as store:
        await store.write(
            *(node(NODE), node(OTHER), pod("one", NODE, "Running"), pod("two", NODE, "Running"), pod("far", OTHER, "Failed")),
            *(device("near", NODE, "ok"), device("far", OTHER, "offline")),
        )
        made = report(store, identity, ["wss://relay.example.com"])
        status = made.status()
        assert status["node"] == NODE
        assert status["pods"] == {"Running": 2}
        assert status["devices"] == {"ok": 1}
        assert status["peers"] == [{"node": OTHER, "path": None, "rtt_ms": None, "address": None}]
        assert status["relay"] == {"url": "wss://relay.example.com", "connected": False, "observed": None}
        assert status["vector"] == {store.origin: 2 + 2 * (3 + 2)}  # two nodes without a status, the rest with
        assert (status["holder"], status["members"], status["clock_ahead_s"]) == (None, [NODE], 0.0)
        assert status["port_mapping"] == "off"
        assert status["revision"] == store.revision
        assert (status["trouble"], status["damaged"], status["observes"]) == ("", 0, [])
        names = {figure.name for figure in made.figures()}
        assert {
            "edged_relay_connected",
            "edged_store_refused",
            "edged_store_damaged",
            "edged_sync_refused_total",
            "edged_mesh_dns_queries",
        } <= names
        assert report(store, identity, []).status()["relay"] is None
        with pytest.raises(UnreachableError, match="not running"):
            await made.netcheck()
        with pytest.raises(UnreachableError, match="not running"):
            await made.ping(OTHER)
