import os
from collections.abc import AsyncIterator
from typing import Any

import docker
import pytest

from edged.errors import UnreachableError
from edged.runtime.docker import DockerDriver
from edged.runtime.dockerd import SOCKET
from edged.runtime.podnetwork import BRIDGE, DEFAULT, LABEL, MTU, Found, clean_up, found, name_of

RANGE = f"10.{192 + os.getpid() % 32}.{os.getpid() // 32 % 250}.0/24"  # of this run
OTHER = f"10.{192 + os.getpid() % 32}.{os.getpid() // 32 % 250 + 1}.0/24"
FOREVER = "sleep 600"


def test_what_dockerd_lists() -> None:
    ours = {"Id": "1", "Name": "edged-10.42.7.0", "IPAM": {"Config": [{"Subnet": "10.42.7.0/24"}]}, "Labels": {LABEL: "gw-a"}}
    host = {"Id": "2", "Name": "host", "IPAM": {"Config": None}, "Labels": None}
    assert found([ours, host]) == [Found("1", "edged-10.42.7.0", ("10.42.7.0/24",), "gw-a"), Found("2", "host", (), "")]
    assert name_of("10.42.7.0/24") == "edged-10.42.7.0"


class Place:
    """A driver whose node's range is `range`, and what it said."""

    def __init__(self, kit: Any, client: docker.APIClient) -> None:
        self.kit, self.client = kit, client
        self.range = RANGE
        self.said: list[str] = []
        self.driver = DockerDriver(kit.node, pods=lambda: self.range, told=self.tell)
        kit.made.append(self.driver)

    async def tell(self, why: str) -> None:
        self.said.append(why)

    async def run(self) -> Any:
        return await self.kit.run(self.driver, self.kit.spec(FOREVER))

    async def end(self, one: Any) -> None:
        await self.driver.kill(one.id)
        await self.kit.ended(self.driver, one.id)
        await self.driver.remove(one.id)

    def network_of(self, one: Any) -> str:
        (name,) = self.client.inspect_container(one.id)["NetworkSettings"]["Networks"]
        return str(name)

    def networks(self) -> set[str]:
        return {each["Name"] for each in self.client.networks() if (each["Labels"] or {}).get(LABEL) == self.kit.node}


@pytest.fixture
async def place(docker_kit: Any) -> AsyncIterator[Place]:
    client = docker.APIClient()
    made = Place(docker_kit, client)
    yield made
    for one in await made.driver.containers():
        client.remove_container(one.id, force=True)
    for each in client.networks():
        if each["Name"] in (name_of(RANGE), name_of(OTHER), f"theirs-{os.getpid()}"):
            client.remove_network(each["Id"])
    client.close()


@pytest.mark.docker
async def test_pods_have_addresses_of_the_range(place: Place) -> None:
    for _ in range(2):
        one = await place.run()
        assert one.address.rpartition(".")[0] == RANGE.rpartition(".")[0]
    made = place.client.inspect_network(name_of(RANGE))
    assert made["Options"][BRIDGE].startswith("pods10-")
    assert 576 <= int(made["Options"][MTU]) <= 1500
    assert made["Labels"] == {LABEL: place.kit.node}
    assert place.said == []


@pytest.mark.docker
async def test_without_a_range_they_are_where_docker_puts_them(place: Place) -> None:
    place.range = ""
    assert place.network_of(await place.run()) == DEFAULT
    assert place.said == []


@pytest.mark.docker
async def test_another_range_is_for_new_pods_and_the_old_network_goes_when_it_is_empty(place: Place) -> None:
    first = await place.run()
    place.range = OTHER
    second = await place.run()
    assert (place.network_of(first), place.network_of(second)) == (name_of(RANGE), name_of(OTHER))
    assert (await place.kit.seen(place.driver, first.id)).state == "running"
    await clean_up(SOCKET, place.kit.node)
    assert place.networks() == {name_of(RANGE), name_of(OTHER)}, "pods run on both"
    await place.end(first)
    assert place.networks() == {name_of(OTHER)}


@pytest.mark.docker
async def test_a_network_without_pods_is_cleaned_up(place: Place) -> None:
    await place.end(await place.run())
    await clean_up(SOCKET, "somebody-else")
    assert place.networks() == {name_of(RANGE)}
    await clean_up(SOCKET, place.kit.node)
    assert place.networks() == set()


@pytest.mark.docker
@pytest.mark.parametrize("name", [name_of(RANGE), f"theirs-{os.getpid()}"], ids=["its name", "its range"])
async def test_what_is_somebody_elses_is_left_alone_and_said_once(place: Place, name: str) -> None:
    pool = docker.types.IPAMPool(subnet=RANGE)
    place.client.create_network(name, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    for _ in range(2):
        assert place.network_of(await place.run()) == DEFAULT
    (why,) = place.said
    assert "cannot call their addresses" in why
    assert ("is not this node's" in why) or ("overlaps" in why)


async def test_a_dockerd_that_is_away_is_said() -> None:
    with pytest.raises(UnreachableError):
        await clean_up("/nonexistent/docker.sock", "gw-a")
