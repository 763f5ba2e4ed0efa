"""A node whose disk went back to an older state, among nodes that know more of it than it does itself."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from edged.model.core import Event
from edged.model.objects import Key, dump, typed
from edged.store.store import Store
from edged.store.writes import Create, Delete, Put
from edged.sync.clock import at
from edged.sync.exchange import MAX_LEAP
from edged.wire import sync as wire
from edged.wire.sync import BODY, Delta, Digest, Register, Vector

from .conftest import EPOCH, House, identity, joined, opened_house, sealed

POD = b'{"apiVersion":"v1","kind":"Pod","spec":{"nodeName":"gw-a"}}'
OTHER = POD.replace(b"gw-a", b"gw-x")


def key(name: str) -> Key:
    return Key("pods", "default", name)


def names(house: House) -> list[str]:
    return [obj.key.name for obj in house.store.list("pods")]


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(600):
        while not true():  # noqa: ASYNC110  what is looked at is everywhere
            await trio.sleep(0.5)


def equal(*houses: House) -> bool:
    def content(store: Store) -> Any:
        held = {origin: number for origin, number in store.held().items() if "~" not in origin}
        return held, [store.delta(origin, 0) for origin in sorted(held)]

    return len({str(content(house.store)) for house in houses}) == 1


class Disk:
    """The disk of gw-b, which wrote `kept` first; `back` is its return to that state."""

    def __init__(self, folder: Path) -> None:
        self.path, self._older = folder / "store.db", folder / "older.db"

    async def begin(self) -> None:
        async with opened_house("gw-b", self.path) as house:
            node = dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-b"}})
            await house.store.write(Create(Key("nodes", "", "gw-b"), "n", node), Create(key("kept"), "k", POD))
        shutil.copy(self.path, self._older)

    async def lose(self, *peers: House, work: Callable[[Store], Awaitable[object]]) -> None:
        """What `work` writes is lost here, and not at the peers."""
        async with opened_house("gw-b", self.path) as house:
            house.clock.observe(at(EPOCH))
            await work(house.store)
            for peer in peers:
                async with joined(house, peer):
                    await until(lambda peer=peer: equal(house, peer))  # type: ignore[misc]
        shutil.copy(self._older, self.path)

    @asynccontextmanager
    async def back(self) -> AsyncIterator[House]:
        async with opened_house("gw-b", self.path) as house:
            await trio.sleep(60)
            yield house


@pytest.fixture
async def disk(tmp_path: Path) -> Disk:
    made = Disk(tmp_path)
    await made.begin()
    return made


async def make(store: Store, *made: str, value: bytes = POD) -> None:
    for name in made:
        await store.write(Create(key(name), f"{name}-{len(value)}", value))


@pytest.mark.parametrize("more", [0, 1, 2, 5])
async def test_what_was_written_since_stays_and_the_rest_comes_back(autojump_clock: MockClock, disk: Disk, more: int) -> None:
    async with opened_house("gw-a") as peer:
        await disk.lose(peer, work=lambda store: make(store, "lost-0", "lost-1"))
        async with disk.back() as house:
            before = house.store.origin
            new = [f"new-{number}" for number in range(more)]
            await make(house.store, *new)
            async with joined(house, peer):
                await until(lambda: names(peer) == ["kept", "lost-0", "lost-1", *new])
                await until(lambda: equal(house, peer))
                await make(house.store, "after")
                await until(lambda: "after" in names(peer))
            assert house.store.origin != before
            assert ["went back to an older state" in line for line in house.said if "registers under" not in line] == [True]
            events = [typed(each, Event) for each in peer.store.list("events")]
            assert [(each.reason, each.involved_object.name) for each in events] == [("StoreWentBack", "gw-b")]
            assert peer.group.replicator.refused == 0


async def test_who_has_the_new_ones_gets_the_old_ones_too(autojump_clock: MockClock, disk: Disk) -> None:
    """gw-a knows what was lost, gw-c what was written instead; they meet first, and their numbers are the same."""
    async with opened_house("gw-a") as old, opened_house("gw-c") as new:
        await disk.lose(old, work=lambda store: make(store, "lost-0", "both"))
        async with disk.back() as house:
            await make(house.store, "new-0", "both", value=OTHER)
            async with joined(house, new):
                await until(lambda: equal(house, new))
            async with joined(old, new):
                await until(lambda: names(old) == names(new) == ["both", "kept", "lost-0", "new-0"])
            async with AsyncExitStack() as stack:
                for one, other in ((house, old), (house, new), (old, new)):
                    await stack.enter_async_context(joined(one, other))
                await until(lambda: equal(house, old, new))
            assert names(house) == ["both", "kept", "lost-0", "new-0"]
            assert house.store.get(key("both")).body == OTHER, "the later one"
            assert any("other registers under the same numbers" in line for line in old.said + new.said)


async def test_numbers_of_which_nothing_stands_are_not_used_again(autojump_clock: MockClock, disk: Disk) -> None:
    async def superseded(store: Store) -> None:
        await make(store, "lost-0", "lost-1")

    async with opened_house("gw-a") as peer:
        await disk.lose(peer, work=superseded)
        for name in ("lost-0", "lost-1"):
            await peer.store.write(Put(key(name), OTHER))
        async with disk.back() as house:
            await make(house.store, "new")
            before = house.store.origin
            async with joined(house, peer):
                await until(lambda: names(peer) == ["kept", "lost-0", "lost-1", "new"])
                await until(lambda: equal(house, peer))
            assert house.store.origin == before, "nothing proves it: no new name for a mere number"


async def test_a_deletion_that_was_forgotten_comes_back(autojump_clock: MockClock, disk: Disk) -> None:
    async with opened_house("gw-a") as peer:
        await disk.lose(peer, work=lambda store: store.write(Delete(key("kept"))))
        async with disk.back() as house:
            await make(house.store, "new")
            async with joined(house, peer):
                await until(lambda: names(peer) == names(house) == ["new"])
                await until(lambda: equal(house, peer))


async def test_a_mere_number_is_no_proof_and_does_no_harm(house: House, autojump_clock: MockClock) -> None:
    own = house.store.origin
    await make(house.store, "web-0")
    async with house.peer() as peer:
        await peer.greet(held={own: 5})
        vector = await peer.hear(Vector)
        while vector.held[own]:
            vector = await peer.hear(Vector)
        await peer.say(Delta(own, 0, 5, []))
        delta = await peer.hear(Delta)
        while not delta.registers or delta.origin != own:
            delta = await peer.hear(Delta)
        assert [(each.name, each.seq) for each in delta.registers] == [("web-0", 6)]
        await peer.say(Vector({own: 1 << 50}, {}, 0), Delta(own, 0, 1 << 50, []), Delta(own, 0, 7 + MAX_LEAP, []))
        await peer.say(Delta("site/gw-a:7", 0, 1, []))
        await until(lambda: house.store.held().get("site/gw-a:7") == 1)
        assert (house.store.origin, house.store.held()[own]) == (own, 6)
    assert house.said == []


async def test_a_forged_proof_ends_the_dialogue(house: House, autojump_clock: MockClock) -> None:
    own = house.store.origin
    forged = Register("pods", "default", "web-0", BODY, "u", own, 5, at(EPOCH), POD)
    async with house.peer() as peer:
        await peer.greet(held={own: 5})
        await peer.say(Delta(own, 0, 5, [sealed(forged, identity("gw-a"))]))
        await until(lambda: house.group.replicator.denied_registers == 1)
        await peer.say(Delta(own, 0, 5, [msgspec.structs.replace(forged, signature=bytes(80))]))
        assert "a key that is not known here" in (await peer.hear(wire.Refused)).reason
    assert house.store.origin == own


async def test_a_digest_of_another_size_is_refused(house: House) -> None:
    async with house.peer() as peer:
        await peer.greet()
        await peer.say(Digest(b"", b""))
        assert "a digest of 0 bytes" in (await peer.hear(wire.Refused)).reason
