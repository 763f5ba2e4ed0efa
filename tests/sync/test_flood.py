"""A node whose key is good writes more than its quota: it fills no disk, and others are unharmed."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from trio.testing import MockClock

from edged.model.core import Event
from edged.model.objects import Key, dump, typed
from edged.store.quota import Quota
from edged.store.writes import Create
from edged.sync.clock import at
from edged.wire.sync import BODY, Delta, Register, Vector

from .conftest import EPOCH, House, Peer, identity, opened_house, sealed
from .test_exchange import POD, until

A, LATER = "site/gw-a:7", "site/gw-a:8"


def register(name: str, seq: int, value: bytes | None = POD, origin: str = A) -> Register:
    plain = Register("pods", "default", name, BODY, f"uid-{name}", origin, seq, at(EPOCH) + seq, value)
    return sealed(plain, identity("gw-a"))


def names(house: House) -> list[str]:
    return [obj.key.name for obj in house.store.list("pods")]


@pytest.fixture
async def full() -> AsyncIterator[House]:
    """A node that takes ten registers of each other one."""
    async with opened_house(quota=Quota(8)) as house:
        node = dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-a"}})
        await house.store.write(Create(Key("nodes", "", "gw-a"), "n", node))
        yield house


async def flood(peer: Peer, origin: str = A, start: int = 1) -> None:
    """Forty registers in four deltas."""
    for since in range(start - 1, start + 39, 10):
        registers = [register(f"web-{seq:02}", seq, origin=origin) for seq in range(since + 1, since + 11)]
        await peer.say(Delta(origin, since, since + 10, registers))


async def vector(peer: Peer, origin: str = A, refused: int = 40) -> Vector:
    while (heard := await peer.hear(Vector)).refused.get(origin) != refused:
        pass
    return heard


async def test_beyond_the_quota_nothing_is_taken_and_nobody_believes_to_have_it(full: House, autojump_clock: MockClock) -> None:
    async with full.peer("gw-c") as other, full.peer() as peer:
        await other.greet()
        await peer.greet()
        await flood(peer)
        said = await vector(peer)
        assert (said.held[A], len(names(full))) == (10, 10)
        await flood(peer, LATER, 41)
        assert (await vector(peer, LATER, 80)).held.get(LATER, 0) == 0, "another store of the same node"
        passed = [await other.hear(Delta)]
        while passed[-1].upto < 10 or passed[-1].origin != A:
            passed.append(await other.hear(Delta))
        assert max(delta.upto for delta in passed if delta.origin == A) == 10
        plain = msgspec.structs.replace(register("fine", 1), origin="site/gw-c:7")
        await other.say(Delta("site/gw-c:7", 0, 1, [sealed(plain, identity("gw-c"))]))
        await until(full.store, lambda: "fine" in names(full))
    [event] = [typed(each, Event) for each in full.store.list("events")]
    assert (event.reason, event.involved_object.name) == ("WriteRefused", "gw-a")
    assert "gw-a has more than its quota on this node" in event.message
    assert (full.group.replicator.denied_registers, len(full.said), full.links.dropped) == (70, 1, [])


async def test_what_it_replaces_and_ends_is_taken_and_makes_room(full: House, autojump_clock: MockClock) -> None:
    async with full.peer() as peer:
        await peer.greet()
        await flood(peer)
        await vector(peer)
        changed = register("web-01", 41, POD.replace(b"gw-a", b"gw-x"))
        await peer.say(Delta(A, 40, 42, [changed, register("web-02", 42, None)]))
        await until(full.store, lambda: "web-02" not in names(full))
        body = full.store.get(Key("pods", "default", "web-01")).body
        assert (body, full.store.held()[A]) == (changed.value, 10), "its numbers are not believed"
        ours = [
            msgspec.structs.replace(register(f"web-{seq:02}", seq - 2), origin="site/gw-c:7", clock=at(EPOCH + 60))
            for seq in range(3, 9)
        ]  # somebody else, who is within its quota, takes them over
        await full.store.merge(Delta("site/gw-c:7", 0, 6, ours))
        while (heard := await peer.hear(Vector)).refused:
            pass
        assert heard.held[A] == 10
        rest = [register(f"web-{seq:02}", seq) for seq in (11, 12)]
        await peer.say(Delta(A, 10, 12, rest))
        await until(full.store, lambda: full.store.held()[A] == 12)
