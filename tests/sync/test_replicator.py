"""Streams as links come and go: who opens them, how often, and what becomes of a peer that refuses."""

import itertools

import trio
import trio.testing

from edged.model.objects import Key, dump
from edged.store.writes import Create, PutStatus
from edged.wire import sync as wire
from edged.wire.codec import Frames, framed
from edged.wire.peer import ANSWER, Refused, Sync

from .conftest import House


async def test_an_unknown_version_is_refused_with_a_reason(house: House) -> None:
    near, far = trio.testing.memory_stream_pair()
    await house.group.replicator.serve("gw-a", Sync(99), far)
    frames = Frames()
    frames.feed(await near.receive_some())
    frame = frames.next()
    assert frame is not None
    assert ANSWER.decode(frame) == Refused("replication version 99 is not spoken here, version 1 is")


async def test_the_lower_name_opens_the_stream(house: House, autojump_clock: trio.testing.MockClock) -> None:
    house.links.set("gw-a", "gw-c")
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.membership.run)
        await nursery.start(house.group.replicator.run)
        near, far = trio.testing.memory_stream_pair()
        house.links.streams = [near]
        await trio.sleep(5)
        assert house.links.streams == [], "gw-c, once it was linked"
        assert await far.receive_some()
        nursery.cancel_scope.cancel()


async def test_a_peer_that_refuses_is_left_alone_for_longer_and_longer(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    for _ in range(30):
        near, far = trio.testing.memory_stream_pair()
        await far.send_all(framed(wire.SYNC.encode(wire.Refused("no"))))
        house.links.streams.append(near)
    house.links.set("gw-c")
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.membership.run)
        await nursery.start(house.group.replicator.run)
        await trio.sleep(400)
        nursery.cancel_scope.cancel()
    waits = [later - sooner for sooner, later in itertools.pairwise(house.links.opened)]
    assert waits[0] <= 1
    assert waits[-1] >= 15
    assert house.group.replicator.refused == len(house.links.opened) > 1
    assert len(house.said) == 1, "said once, not at each try"


async def test_a_stream_ends_when_neither_end_wants_the_link_any_more(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    house.links.streams = [near]
    house.links.set("gw-c")
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.membership.run)
        await nursery.start(house.group.replicator.run)
        assert await far.receive_some()
        house.links.set()
        with trio.fail_after(30):
            while await far.receive_some():
                pass
        nursery.cancel_scope.cancel()


async def test_what_was_stamped_far_ahead_is_stamped_anew_though_a_dialogue_ends_over_it(house: House) -> None:
    house.skew = 315_360_000.0
    device = Key("devices.devices.kubeedge.io", "default", "d")
    await house.store.write(Create(device, "u", dump({"spec": {}})))
    await house.store.write(PutStatus(device, dump({"state": "1"}), volatile=True))
    house.skew = 0.0
    with trio.CancelScope() as dialogue:
        dialogue.cancel()
        await house.group.replicator.restamp({})
    await house.group.replicator.restamp({})
    limit = house.clock.limit
    deltas = [house.store.delta(origin, 0, limit) for origin in house.store.origins]
    assert sorted((each.part, each.clock <= limit) for delta in deltas for each in delta.registers) == [
        ("body", True),
        ("status", True),
    ]
    assert all(delta.upto == house.store.number(delta.origin) for delta in deltas), "nothing waits"


async def test_a_farewell_waits_until_all_was_said(house: House) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.membership.run)
        async with house.peer() as peer:
            await peer.greet()
            await peer.hear(wire.Pulses)
            house.group.membership.leave()
            await house.group.replicator.farewell()
            with trio.fail_after(1):
                [pulse] = (await peer.hear(wire.Pulses)).pulses
            assert pulse.leaves
        nursery.cancel_scope.cancel()
