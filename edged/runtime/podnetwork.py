"""The Docker network of a node's pods: a bridge with the addresses of the node's range."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from edged.errors import ConflictError, InvalidError, NotFoundError
from edged.kit.interfaces import way_out_mtu
from edged.model.meta import JSON
from edged.model.ranges import bridge
from edged.runtime.dockerd import Dockerd

if TYPE_CHECKING:
    from docker import APIClient

DEFAULT = "bridge"  # Docker's own network, the same on every machine
LABEL = "edged.io/pod-network"  # of networks that edged made; its value is the node
MTU = "com.docker.network.driver.mtu"
BRIDGE = "com.docker.network.bridge.name"


async def unheard(why: str) -> None:
    """Nobody hears why pods are on Docker's default network."""


class Found(NamedTuple):
    """A network of dockerd: `node` is whose it is, "" when edged did not make it."""

    id: str
    name: str
    subnets: tuple[str, ...]
    node: str


class PodNetwork:
    """Makes the network of `node` when it is missing. `pods` gives the node's range as it is now, "" when it has none.

    Without a range, and when dockerd has something else in its place, containers join Docker's default network; why is
    `told`, once. When the range changes, containers that run keep their network; it goes when it has become empty.
    """

    def __init__(self, dockerd: Dockerd, node: str, pods: Callable[[], str], told: Callable[[str], Awaitable[None]]) -> None:
        self._dockerd, self._node, self._pods, self._told = dockerd, node, pods, told
        self._making = trio.Lock()  # pods that start together find one network, and not each that there is none
        self._trouble = ""

    async def name(self) -> str:
        """The network that a new container joins. UnreachableError when dockerd is away."""
        pods = self._pods()
        if not pods:
            return DEFAULT
        async with self._making:
            try:
                name, self._trouble = await self._ready(pods), ""
            except (InvalidError, ConflictError) as error:
                if self._trouble != str(error):
                    self._trouble = str(error)
                    why = f"pods start on Docker's network {DEFAULT}, where other nodes cannot call their addresses: {error}"
                    await self._told(why)
                name = DEFAULT
        return name

    async def tidy(self) -> None:
        """Remove the networks of ranges that the node had before, where no container runs any more."""
        for each in await _networks(self._dockerd):
            if each.node == self._node and each.name != name_of(self._pods()):
                await _remove(self._dockerd, each)

    async def _ready(self, pods: str) -> str:
        name = name_of(pods)
        there = next((each for each in await _networks(self._dockerd) if each.name == name), None)
        if there is None:
            await self._dockerd.ask(partial(_create, self._node, pods, way_out_mtu()))
        elif there != Found(there.id, name, (pods,), self._node):
            raise InvalidError(f"docker has a network {name} that is not this node's: remove it")
        return name


async def clean_up(socket: str, node: str) -> None:
    """Remove the networks of `node` at this dockerd on which no container runs. UnreachableError when dockerd is away."""
    dockerd = Dockerd(socket)
    try:
        for each in await _networks(dockerd):
            if each.node == node:
                await _remove(dockerd, each)
    finally:
        dockerd.close()


async def _networks(dockerd: Dockerd) -> list[Found]:
    return found(await dockerd.call(lambda client: client.networks()))


async def _remove(dockerd: Dockerd, network: Found) -> None:
    """Unless containers run on it: dockerd refuses that."""
    with suppress(InvalidError, NotFoundError):
        await dockerd.ask(lambda client: client.remove_network(network.id))


def _create(node: str, pods: str, mtu: int, client: "APIClient") -> None:
    from docker.types import IPAMConfig, IPAMPool  # noqa: PLC0415  as in dockerd.py

    client.create_network(
        name_of(pods),
        driver="bridge",
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=pods)]),
        options={BRIDGE: bridge(pods), MTU: str(mtu)},
        labels={LABEL: node},
        check_duplicate=True,
    )


def name_of(pods: str) -> str:
    """The name of the network of a range: `edged-10.42.7.0`."""
    return f"edged-{pods.partition('/')[0]}"


def found(networks: Iterable[JSON]) -> list[Found]:
    """The networks of dockerd's list."""
    return [
        Found(
            each["Id"],
            each["Name"],
            tuple(pool.get("Subnet", "") for pool in (each.get("IPAM") or {}).get("Config") or ()),
            (each.get("Labels") or {}).get(LABEL, ""),
        )
        for each in networks
    ]
