"""Nodes that write, part and meet again: nothing acknowledged is lost, and when links heal all stores are equal."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio

from edged.errors import AlreadyExistsError, NotFoundError
from edged.model.objects import Key, dump
from edged.store.store import Store
from edged.store.writes import Create, Delete, Put, PutStatus

NAMES = ["gw-a", "gw-b", "gw-c", "gw-d"]
KEYS = [Key("pods", "default", f"web-{number}") for number in range(6)]


def body(number: int) -> bytes:
    return dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"number": str(number)}}})


def content(store: Store) -> dict[str, Any]:
    return {str(obj.key): (obj.uid, obj.body, obj.status) for obj in store.list("pods")}


async def write(store: Store, random: Random, number: int) -> None:
    key = random.choice(KEYS)
    choice = random.random()
    try:
        if choice < 0.4:
            await store.write(Create(key, f"{store.origin}-{number}", body(number)))
        elif choice < 0.7:
            await store.write(Put(key, body(number)))
        elif choice < 0.9:
            await store.write(PutStatus(key, dump({"message": str(number)})))
        else:
            await store.write(Delete(key))
    except (AlreadyExistsError, NotFoundError):
        pass


async def settle(group: Any) -> None:
    """All links up, then long enough for every back-off and delta."""
    for one in NAMES:
        for other in NAMES:
            if one < other and other not in group.members[one].linked:
                group.link(one, other)
    await trio.sleep(300)


@pytest.mark.parametrize("seed", range(60))
def test_stores_are_equal_when_links_heal(run_simulated: Callable[..., None], seed: int) -> None:
    async def scenario(group: Any) -> None:
        random = Random(seed)
        for number in range(random.randint(1, 60)):
            one, other = random.sample(NAMES, 2)
            choice = random.random()
            if choice < 0.2 and other not in group.members[one].linked:
                group.link(one, other)
            elif choice < 0.3 and other in group.members[one].linked:
                group.cut(one, other)
            elif choice < 0.35:
                group.members[one].skew = random.uniform(-250, 250)
            else:
                await write(group.members[one].store, random, number)
            if random.random() < 0.3:
                await trio.sleep(random.random())
        await settle(group)
        stores = [group.members[name].store for name in NAMES]
        assert all(store.held() == stores[0].held() for store in stores), f"seed {seed}"
        assert all(content(store) == content(stores[0]) for store in stores), f"seed {seed}"
        assert not any(group.members[name].replicator.refused for name in NAMES)

    run_simulated(NAMES, seed, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_an_acknowledged_write_of_its_own_key_reaches_everyone(run_simulated: Callable[..., None], seed: int) -> None:
    async def scenario(group: Any) -> None:
        random = Random(seed)
        acknowledged = set()
        for number in range(40):
            name = random.choice(NAMES)
            key = Key("configmaps", "default", f"{name}-{number}")
            await group.members[name].store.write(Create(key, f"u{number}", body(number)))
            acknowledged.add(key)
            one, other = sorted(random.sample(NAMES, 2))
            if other in group.members[one].linked:
                group.cut(one, other)
            else:
                group.link(one, other)
            await trio.sleep(random.random() * 0.1)
        await settle(group)
        for name in NAMES:
            assert {obj.key for obj in group.members[name].store.list("configmaps")} == acknowledged

    run_simulated(NAMES, seed, scenario)


def test_a_new_write_reaches_a_linked_peer_at_once(run_simulated: Callable[..., None]) -> None:
    async def scenario(group: Any) -> None:
        group.link("gw-a", "gw-b")
        await trio.sleep(5)
        there = group.members["gw-b"].store
        began, revision = trio.current_time(), there.revision
        await group.members["gw-a"].store.write(Create(KEYS[0], "u1", body(1)))
        await there.changed(revision)
        assert there.get(KEYS[0]) is not None
        assert trio.current_time() - began < 0.001

    run_simulated(NAMES, 1, scenario)


def test_a_peer_whose_clock_is_far_ahead_is_refused_and_told(run_simulated: Callable[..., None]) -> None:
    async def scenario(group: Any) -> None:
        ahead, sane = group.members["gw-b"], group.members["gw-a"]
        ahead.skew = 3600
        await ahead.store.write(Create(KEYS[0], "u1", body(1)))
        group.link("gw-a", "gw-b")
        await trio.sleep(60)
        assert sane.store.get(KEYS[0]) is None
        assert sane.replicator.refused
        assert ahead.replicator.refused

    run_simulated(NAMES, 1, scenario)
