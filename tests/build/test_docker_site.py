import os
from pathlib import Path

import docker
import pytest

from build import machine
from build.docker_site import IMAGE, OWNER, docker_site

pytestmark = pytest.mark.docker


def names(client: docker.DockerClient) -> set[str]:
    return {network.name for network in client.networks.list()}


def test_the_network_goes_with_all_that_hangs_on_it() -> None:
    busybox = machine.static_busybox()
    assert busybox is not None
    client = docker.from_env()
    name = f"edgedt-{os.getpid()}"
    dead = f"edgedd-{os.getpid()}"
    try:
        had_image = bool(client.images.list(IMAGE))
        client.networks.create(dead, labels={OWNER: "999999999-1"})
        with docker_site(name, busybox):
            assert dead not in names(client)  # a killed quickstart's
            container = client.containers.run(IMAGE, ["sleep", "1000"], network=name, detach=True)
            container.reload()
            address = container.attrs["NetworkSettings"]["Networks"][name]["IPAddress"]
            assert int(address.rpartition(".")[2]) < 128
            assert Path(f"/sys/class/net/{name}/bridge").is_dir()
        assert name not in names(client)
        with pytest.raises(docker.errors.NotFound):
            client.containers.get(container.id)
        assert bool(client.images.list(IMAGE)) == had_image
    finally:
        client.close()
