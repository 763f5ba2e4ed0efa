import trio

from edged.model.objects import Key, dump
from edged.store.writes import Create
from edged.sync.leases import LEASE_S
from edged.sync.neighbourhood import Neighbourhood
from edged.sync.topology import FULL

from .conftest import House


async def test_a_small_group_is_wanted_whole_and_of_a_large_one_a_few(house: House) -> None:
    nearby = Neighbourhood(house.store, house.group.membership, house.links, LEASE_S)
    async with trio.open_nursery() as nursery:
        house.links.set("gw-a", "gw-c")
        await nursery.start(nearby.run)
        assert house.links.wanted == {"gw-a", "gw-c"}
        many = [f"n{number}" for number in range(40)]
        house.links.set("gw-a", "gw-c", *many)
        await trio.testing.wait_all_tasks_blocked()
        assert house.links.wanted is not None
        assert 2 < len(house.links.wanted) <= 2 * FULL
        nursery.cancel_scope.cancel()


async def test_a_node_that_has_an_object_is_wanted_though_nobody_sees_it(house: House) -> None:
    node = dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-z"}})
    await house.store.write(Create(Key("nodes", "", "gw-z"), "u", node))
    async with trio.open_nursery() as nursery:
        await nursery.start(Neighbourhood(house.store, house.group.membership, house.links, LEASE_S).run)
        assert house.links.wanted == {"gw-z"}
        nursery.cancel_scope.cancel()


async def test_a_node_of_a_large_group_that_hears_of_nobody_for_a_lease_looks_for_everybody(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    many = {f"n{number}" for number in range(40)}
    house.links.set(*many)
    async with trio.open_nursery() as nursery:
        await nursery.start(Neighbourhood(house.store, house.group.membership, house.links, LEASE_S).run)
        assert house.links.wanted is not None
        assert house.links.wanted < many
        await trio.sleep(LEASE_S)
        await trio.testing.wait_all_tasks_blocked()
        assert house.links.wanted == many
        nursery.cancel_scope.cancel()
