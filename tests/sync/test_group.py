import trio
import trio.testing

from edged.model.objects import Key, dump
from edged.store.writes import Create, PutStatus

from .conftest import House

DEVICE = Key("devices.devices.kubeedge.io", "default", "thermometer")


async def test_a_node_that_is_alone_leads_at_once(house: House, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.run)
        with trio.fail_after(0.1):
            while not house.group.membership.leads:
                await house.group.membership.changed(house.group.membership.view)
        nursery.cancel_scope.cancel()


async def test_a_node_that_knows_others_waits_until_it_could_have_heard_them(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    node = dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-a"}})
    await house.store.write(Create(Key("nodes", "", "gw-a"), "u", node))
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.run)
        began = trio.current_time()
        while not house.group.membership.leads:
            await house.group.membership.changed(house.group.membership.view)
        assert 9.9 <= trio.current_time() - began <= 10.5
        nursery.cancel_scope.cancel()


async def test_leaving_tells_the_peers_and_writes_what_is_volatile(house: House) -> None:
    await house.store.write(Create(DEVICE, "u", b'{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"Device"}'))
    await house.store.write(PutStatus(DEVICE, b'{"state":"ok"}', volatile=True))
    async with trio.open_nursery() as nursery:
        await nursery.start(house.group.run)
        await house.group.leave()
        assert not house.group.membership.leads
        assert house.group.membership.pulses[0].leaves
        assert b'{"state":"ok"}' in [each.value for each in house.store.delta(house.store.origin, 0).registers]
        nursery.cancel_scope.cancel()
