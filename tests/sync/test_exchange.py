"""One stream of one node, against a peer that a test plays word by word: what it takes, what it refuses, what it asks for."""

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from edged.identity.node import Identity
from edged.model.core import Event
from edged.model.objects import Key, dump, typed
from edged.store.store import Store
from edged.store.writes import Create, Delete
from edged.sync import replicator
from edged.sync.clock import at
from edged.wire import sync as wire
from edged.wire.codec import VERSION
from edged.wire.sync import BODY, STATUS, Delta, Found, Fresh, Hello, Pulses, Refused, Register, Standing, Vector, Want

from .conftest import EPOCH, House, identity, sealed

A = "site/gw-a:7"
POD = b'{"apiVersion":"v1","kind":"Pod","spec":{"nodeName":"gw-a"}}'


def register(name: str, seq: int, *, by: str = "gw-a", clock: float = EPOCH, **more: Any) -> Register:
    plain = Register("pods", "default", name, BODY, f"uid-{name}", f"site/{by}:7", seq, at(clock), POD)
    return sealed(msgspec.structs.replace(plain, **more), identity(by))


async def until(store: Store, true: Callable[[], bool]) -> None:
    with trio.fail_after(120):
        while not true():
            await store.changed(store.revision)


async def patiently(true: Callable[[], bool]) -> None:
    """For what changes nothing that can be watched."""
    with trio.fail_after(120):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)


def key(name: str) -> Key:
    return Key("pods", "default", name)


async def test_each_says_what_it_holds_and_sends_what_the_other_lacks(house: House) -> None:
    await house.store.write(Create(key("web-0"), "u1", POD))
    async with house.peer() as peer:
        hello = await peer.hear(Hello)
        assert (hello.version, hello.keys) == (VERSION, sorted(house.keys.ids))
        assert (await peer.hear(Vector)).held.items() >= {house.store.origin: 1}.items()
        await peer.greet()
        certificates = await peer.hear(wire.Certificates)
        assert certificates.certificates == [identity("gw-b").certificate_der]
        delta = await peer.hear(Delta)
        assert [each.name for each in delta.registers] == ["web-0"]
        await peer.say(Delta(A, 0, 1, [register("web-9", 1)]))
        await until(house.store, lambda: house.store.get(key("web-9")) is not None)
        assert house.store.held()[A] == 1
    assert house.said == []
    assert house.group.replicator.refused == 0
    assert set(house.store.certificates()) == house.keys.ids


async def test_a_new_write_is_sent_at_once_and_what_the_peer_told_is_not(house: House) -> None:
    async with house.peer() as peer:
        await peer.greet()
        await peer.say(Delta(A, 0, 1, [register("web-9", 1)]))
        await until(house.store, lambda: A in house.store.held())
        await house.store.write(Create(key("web-0"), "u1", POD))
        deltas = [await peer.hear(Delta)]
        while deltas[-1].origin != house.store.origin:
            deltas.append(await peer.hear(Delta))
        assert all(delta.origin != A for delta in deltas)


async def test_what_the_peers_own_neighbours_write_is_passed_on_only_when_it_turns_out_to_lack_it(house: House) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.membership.run)
        async with house.peer() as peer, house.peer("gw-c") as other:
            await peer.greet()
            await other.greet()
            for each, linked in ((peer, ["gw-b", "gw-c"]), (other, ["gw-a", "gw-b"])):
                plain = wire.Pulse(each.name, 5, 1, house.clock.wall(), 10.0, linked=linked)
                await each.say(
                    Pulses([msgspec.structs.replace(plain, signature=identity(each.name).seal(plain.signed_bytes()))])
                )
            await patiently(lambda: house.group.membership.view.members == {"gw-a", "gw-b", "gw-c"})
            await other.say(Delta("site/gw-c:7", 0, 1, [register("by-c", 1, by="gw-c")]))
            await until(house.store, lambda: house.store.get(key("by-c")) is not None)
            await house.store.write(Create(key("by-b"), "u1", POD))
            assert (await peer.hear(Delta)).origin == house.store.origin, "it is linked to gw-c itself"
            await peer.say(Vector({house.store.origin: 1}, {}, 1))
            assert (await peer.hear(Delta)).origin == "site/gw-c:7"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([b"\xff\xff\xff\xff"], "a frame of 4294967295 bytes"),
        ([b"\x00\x00\x00\x07garbage"], "not a message"),
        (
            [Delta(A, 0, 1, [msgspec.structs.replace(register("x", 1), value=POD + b" ")])],
            "the signature is not by",
        ),
        ([Delta("site/gw-x:7", 0, 1, [])], "no node of ours writes there"),
        ([Delta(A, 5, 9, [])], "0 is held here"),
        ([Vector({}, {}, 99)], "with 99 of"),
        ([Standing({})], "not asked for"),
    ],
)
async def test_what_no_honest_peer_says_ends_the_dialogue_and_the_link(house: House, words: list[Any], reason: str) -> None:
    async with house.peer("gw-c") as other, house.peer() as peer:
        await other.greet()
        await peer.greet()
        for word in words:
            await (peer.raw(word) if isinstance(word, bytes) else peer.say(word))
        assert reason in (await peer.hear(Refused)).reason
        await other.say(Delta("site/gw-c:7", 0, 1, [register("fine", 1, by="gw-c")]))
        await until(house.store, lambda: house.store.get(key("fine")) is not None)
    assert house.group.replicator.refused == 1
    assert len(house.said) == 1, "logged once"
    expected = [] if reason == "0 is held here" else ["gw-a"]  # a gap is a mistake of a peer that may be honest
    assert [node for node, _ in house.links.dropped] == expected


async def test_what_a_node_may_not_write_is_left_out_counted_and_told_of_it(house: House) -> None:
    node = dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-a"}})
    await house.store.write(Create(Key("nodes", "", "gw-a"), "n", node))
    async with house.peer() as peer:
        await peer.greet()
        wrong = register(
            "model", 1, resource="devicemodels.devices.kubeedge.io", value=b'{"apiVersion":"v1","kind":"DeviceModel"}'
        )
        await peer.say(Delta(A, 0, 2, [wrong, register("web-0", 2)]))
        await until(house.store, lambda: bool(house.store.list("events")))
        [event] = [typed(each, Event) for each in house.store.list("events")]
        assert (event.reason, event.involved_object.name) == ("WriteRefused", "gw-a")
        assert "devicemodels" in event.message
        await until(house.store, lambda: house.store.held().get(A) == 2)
        assert house.store.get(key("web-0")) is not None
    assert house.group.replicator.denied_registers == 1
    assert house.links.dropped == []


async def test_a_million_registers_that_a_node_may_not_write_cost_one_line_and_one_event(house: House) -> None:
    node = dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-a"}})
    await house.store.write(Create(Key("nodes", "", "gw-a"), "n", node))
    wrong = [
        register(f"m{seq}", seq, resource="devicemodels.devices.kubeedge.io", value=b'{"apiVersion":"v1","kind":"DeviceModel"}')
        for seq in range(1, 257)
    ]
    rounds = int(os.environ.get("FLOOD_ROUNDS", "4"))  # of 256; the million takes 3,907
    began = trio.current_time()
    async with house.peer() as peer:
        await peer.greet()
        for number in range(rounds):
            shifted = [
                sealed(msgspec.structs.replace(each, seq=each.seq + 256 * number, signature=b""), identity("gw-a"))
                for each in wrong
            ]
            await peer.say(Delta(A, 256 * number, 256 * (number + 1), shifted))
            taken = 256 * (number - 1)  # one round under way: this stream itself holds back nobody
            await patiently(lambda taken=taken: taken < 0 or house.store.held().get(A, 0) >= taken)
        await patiently(lambda: house.store.held().get(A) == 256 * rounds)
    assert house.group.replicator.denied_registers == 256 * rounds
    assert 1 <= len(house.said) <= 1 + (trio.current_time() - began) / replicator.TOLD_AGAIN_S
    assert len(house.store.list("events")) == 1
    assert house.store.list("devicemodels.devices.kubeedge.io") == []


async def test_a_replay_changes_nothing(house: House) -> None:
    async with house.peer() as peer:
        await peer.greet()
        old = register("web-0", 1)
        await peer.say(Delta(A, 0, 1, [old]), Delta(A, 1, 2, [register("web-0", 2, clock=EPOCH + 1, uid="newer")]))
        await until(house.store, lambda: house.store.held().get(A) == 2)
        await peer.say(Delta(A, 0, 1, [old]), Delta(A, 2, 3, [register("web-1", 3)]))
        await until(house.store, lambda: house.store.held().get(A) == 3)
        assert house.store.get(key("web-0")).uid == "newer"


async def test_nobody_can_say_that_this_node_wrote_more_than_it_signed(house: House) -> None:
    own = house.store.origin
    await house.store.write(Create(key("web-0"), "u1", POD))
    async with house.peer() as peer:
        await peer.greet(held={own: 1 << 50})
        await peer.say(Delta(own, 0, 1 << 50, []), Delta(A, 0, 1, [register("web-9", 1)]))
        await until(house.store, lambda: house.store.held().get(A) == 1)
        assert house.store.held()[own] == 1


async def test_what_waits_for_its_body_is_asked_for_again_when_that_has_come(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    limited = identity("gw-l", limited=True)
    house.keys.learn(limited.certificate_der)
    origin = "site/gw-l:1"
    status = sealed(
        Register("pods", "default", "web-0", STATUS, "uid-web-0", origin, 1, at(EPOCH), b'{"phase":"Running"}'), limited
    )
    async with house.peer() as peer:
        await peer.greet()
        await peer.hear(Vector)
        await peer.say(Delta(origin, 0, 1, [status]))
        vector = await peer.hear(Vector)
        assert (vector.held.get(origin, 0), vector.taken) == (0, 1)
        body = register("web-0", 1, value=POD.replace(b"gw-a", b"gw-l"))
        await peer.say(Delta(A, 0, 1, [body]))
        vector = await peer.hear(Vector)
        assert (vector.held[A], vector.held.get(origin, 0), vector.taken) == (1, 0, 2)
        await peer.say(Delta(origin, 0, 1, [status]))
        await until(house.store, lambda: house.store.held().get(origin) == 1)
        assert house.store.get(key("web-0")).status == b'{"phase":"Running"}'


async def test_a_wrong_clock_is_refused_told_and_keeps_its_link(house: House) -> None:
    async with house.peer() as peer:
        await peer.greet(wall=house.clock.wall() + 86_400)
        assert "the clock of gw-a is 24 h ahead" in (await peer.hear(Refused)).reason
    assert house.links.dropped == []
    assert len(house.said) == 1


async def test_writes_of_a_clock_that_was_far_ahead_are_stamped_anew_when_it_is_right(house: House) -> None:
    house.skew = 315_360_000.0
    await house.store.write(Create(key("web-0"), "u1", POD))
    house.skew = 0.0
    async with house.peer() as peer:
        await peer.greet(held={})
        delta = await peer.hear(Delta)
        while not delta.registers:
            delta = await peer.hear(Delta)
        [there] = delta.registers
        assert (there.name, there.seq) == ("web-0", 2)
        assert there.clock < at(house.clock.wall() + 3600)
    [line] = house.said
    assert "1 writes of that time are stamped anew" in line


async def test_pulses_go_both_ways_and_come_back_to_nobody(house: House) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.membership.run)
        async with house.peer() as peer:
            await peer.greet()
            [own] = (await peer.hear(Pulses)).pulses
            assert own.node == "gw-b"
            plain = wire.Pulse("gw-a", 5, 1, EPOCH + trio.current_time(), 10.0)
            told = msgspec.structs.replace(plain, signature=identity("gw-a").seal(plain.signed_bytes()))
            await peer.say(Pulses([told]))
            with trio.fail_after(30):
                while "gw-a" not in (view := house.group.membership.view).members:
                    await house.group.membership.changed(view)
            house.group.membership.leave()
            assert [pulse.node for pulse in (await peer.hear(Pulses)).pulses] == ["gw-b"]
        nursery.cancel_scope.cancel()


async def rot(store: Store, name: str) -> None:
    """The flash forgets a bit of an object's body."""
    writer: Any = store._disk.writer
    writer.execute("UPDATE registers SET value = x'00' WHERE name = ? AND part = 'body'", (name,)).fetchall()
    assert store.get(key(name)) is None
    assert len(store.damaged) == 1


async def test_what_the_flash_forgot_is_fetched_from_a_peer(house: House, autojump_clock: trio.testing.MockClock) -> None:
    house.links.set("gw-a")
    async with house.peer() as peer:
        await peer.greet()
        good = register("web-0", 1)
        await peer.say(Delta(A, 0, 1, [good]))
        await until(house.store, lambda: house.store.get(key("web-0")) is not None)
        await rot(house.store, "web-0")
        want = await peer.hear(Want)
        assert want.places == [good.place]
        await peer.say(Found([good]), Found([], []))
        await until(house.store, lambda: house.store.get(key("web-0")) is not None)
        assert house.store.damaged == frozenset()


async def test_what_no_linked_node_has_is_given_up_loudly(house: House, autojump_clock: trio.testing.MockClock) -> None:
    house.links.set("gw-a", "gw-c")
    await house.store.write(Create(key("web-0"), "u1", POD))
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.membership.run)
        async with house.peer() as peer, house.peer("gw-c") as other:
            await peer.greet()
            await other.greet()
            await rot(house.store, "web-0")
            for each in (peer, other):
                want = await each.hear(Want)
                assert len(house.store.damaged) == 1
                await each.say(Found([], want.places))
            with trio.fail_after(60):
                while house.store.damaged:
                    await house.store.damage(house.store.damaged)
            await house.store.write(Create(key("web-0"), "u2", POD))
        nursery.cancel_scope.cancel()
    assert ["pods/default/web-0/body" in line for line in house.said] == [True]


async def test_a_peer_is_told_what_stands_in_the_places_that_it_lost(house: House) -> None:
    await house.store.write(Create(key("web-0"), "u1", POD))
    place = ("site", "pods", "default", "web-0", BODY)
    nowhere = ("site", "pods", "default", "web-1", BODY)
    async with house.peer() as peer:
        await peer.greet()
        await peer.say(Want([place, nowhere]))
        assert [each.place for each in (await peer.hear(Found)).registers] == [place]
        assert await peer.hear(Found) == Found([], [nowhere])


async def test_who_was_away_for_long_takes_a_fresh_copy(house: House, autojump_clock: trio.testing.MockClock) -> None:
    house.links.set("gw-a")
    async with house.peer() as peer:
        await peer.greet()
        old, kept = register("deleted-long-ago", 1), register("kept", 2)
        await peer.say(Delta(A, 0, 2, [old, kept]))
        await until(house.store, lambda: house.store.held().get(A) == 2)
    await house.store.write(Create(key("written-here-meanwhile"), "u", POD))
    async with house.peer() as peer:
        await peer.greet(held={A: 9}, floors={A: 5})
        await peer.hear(Fresh)
        await peer.say(Delta(A, 0, 9, [kept, register("new", 9)], copy=True))
        await until(house.store, lambda: house.store.get(key("new")) is not None)
        assert house.store.number(A) == 2, "a copy that is broken off was none"
        assert house.store.get(key("deleted-long-ago")) is not None, "nothing blinks before the copy is complete"
        await peer.say(Standing({A: 9}))
        await until(house.store, lambda: house.store.get(key("deleted-long-ago")) is None)
        await patiently(lambda: house.store.number(A) == 9)
        names = [obj.key.name for obj in house.store.list("pods")]
        assert names == ["kept", "new", "written-here-meanwhile"]
        assert house.store.floors() == {A: 5}


async def test_two_that_both_were_away_for_long_give_each_other_a_copy(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    """A site that was in two pieces for a month: each side has forgotten what it deleted, and needs the other's copy."""
    house.links.set("gw-a")
    own = house.store.origin
    await house.store.write(Create(key("web-0"), "u", POD))
    await house.store.write(Delete(key("web-0")))
    await house.store.forget(1 << 62)
    async with house.peer() as peer:
        await peer.greet(held={A: 9, own: 1}, floors={A: 5})
        await peer.hear(Fresh)
        await peer.say(Fresh())
        delta = await peer.hear(Delta)
        assert (delta.origin, delta.since, delta.upto, delta.copy) == (own, 0, house.store.number(own), True)
        assert (await peer.hear(Standing)).held == {own: house.store.number(own)}


async def test_a_copy_is_sent_whole_and_then_its_end(house: House, identity: Callable[..., Identity]) -> None:
    for number in range(3):
        await house.store.write(Create(key(f"web-{number}"), f"u{number}", POD))
    await house.store.write(Delete(key("web-1")))
    own = house.store.origin
    async with house.peer() as peer:
        await peer.greet(held={own: 4})
        await peer.say(Fresh())
        delta = await peer.hear(Delta)
        assert (delta.origin, delta.since, delta.upto, delta.copy) == (own, 0, 4, True)
        assert [(each.name, each.value is None) for each in delta.registers] == [
            ("web-0", False),
            ("web-2", False),
            ("web-1", True),
        ]
        assert (await peer.hear(Standing)).held.items() >= {own: 4}.items()


async def test_what_a_newer_edged_writes_is_passed_on_and_told_once_a_kind(house: House) -> None:
    async with house.peer() as peer, house.peer("gw-c") as other:
        await peer.greet()
        await other.greet()
        newer = [register(f"web-{seq}", seq, value=POD.replace(b'"gw-a"', b'["gw-a"]')) for seq in (1, 2)]
        await peer.say(Delta(A, 0, 2, newer), Delta(A, 2, 3, [register("web-3", 3)]))
        passed: list[Register] = []
        while len(passed) < 3:
            passed += (await other.hear(Delta)).registers
        assert passed[:2] == newer
        assert [obj.key.name for obj in house.store.list("pods")] == ["web-3"]
    [line] = house.said
    assert "a newer edged writes pods that this one cannot read" in line
    assert house.group.replicator.refused == 0
