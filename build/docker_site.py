"""A Docker network of our own, with the image that the examples use; and its removal with all that hangs on it."""

import contextlib
import http
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from build.image import busybox_archive
from build.processes import gone, owner

IMAGE = "edged-quickstart/busybox"
OWNER = "edged.quickstart.owner"  # label of what is ours: the program that made it
SUBNETS = [f"10.242.{number}" for number in range(256)]  # the first that no other network of Docker has


@contextlib.contextmanager
def docker_site(name: str, busybox: Path) -> Iterator[str]:
    """The Docker network `name`, on a bridge of the same name, and the image IMAGE, while the block runs.

    The block gets an address there (with /prefix) that Docker will not give to a container. After it the network goes,
    with every container on it, and the image unless it was there before. What a killed program left behind goes first.
    """
    client = docker.from_env()
    try:
        _remove_leftovers(client)
        label = {OWNER: owner()}
        own_image = not client.images.list(IMAGE)
        if own_image:
            client.api.import_image_from_data(
                busybox_archive(busybox), repository=IMAGE, tag="latest", changes=[f"LABEL {OWNER}={label[OWNER]}"]
            )
        network, subnet = _create(client, name, label)
        try:
            yield f"{subnet}.129/24"
        finally:
            _remove(client, network)
            if own_image:
                _remove_image(client, IMAGE)
    finally:
        client.close()


def _create(client: docker.DockerClient, name: str, label: dict[str, str]) -> tuple[Network, str]:
    for subnet in SUBNETS:
        pool = IPAMPool(subnet=f"{subnet}.0/24", iprange=f"{subnet}.0/25")  # containers get addresses of the lower half
        with contextlib.suppress(docker.errors.APIError):  # "Pool overlaps with other one on this address space"
            network = client.networks.create(
                name,
                driver="bridge",
                ipam=IPAMConfig(pool_configs=[pool]),
                options={"com.docker.network.bridge.name": name},
                labels=label,
            )
            return network, subnet
    raise OSError(f"Docker has no subnet for a network among {SUBNETS[0]}.0/24 to {SUBNETS[-1]}.0/24")


def _remove_leftovers(client: docker.DockerClient) -> None:
    for network in client.networks.list(filters={"label": OWNER}):
        if gone(network.attrs["Labels"][OWNER]):
            _remove(client, network)
    for image in client.images.list(filters={"label": OWNER}):
        if gone(image.labels[OWNER]):
            _remove_image(client, str(image.id))


def _remove_image(client: docker.DockerClient, image: str) -> None:
    try:
        client.images.remove(image, force=True)
    except docker.errors.APIError as error:
        # Somebody else's container runs it: then it stays. Or another program removed it too.
        if error.status_code not in {http.HTTPStatus.CONFLICT, http.HTTPStatus.NOT_FOUND}:
            raise


def _remove(client: docker.DockerClient, network: Network) -> None:
    """End the containers of a network, running or not, then the network."""
    for container in client.containers.list(all=True, filters={"network": str(network.id)}):
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)
    with contextlib.suppress(docker.errors.NotFound):  # another program removes what is left of a third, too
        network.remove()
