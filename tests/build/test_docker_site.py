import os
from pathlib import Path

import docker
import pytest

from build import docker_site as module
from build import machine
from build.docker_site import OWNER, docker_site

pytestmark = pytest.mark.docker


def names(client: docker.DockerClient) -> set[str]:
    return {network.name for network in client.networks.list()}


def test_the_network_goes_with_all_that_hangs_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = machine.static_busybox()
    assert busybox is not None
    client = docker.from_env()
    name = f"edgedt-{os.getpid()}"
    dead = f"edgedd-{os.getpid()}"
    image = f"edged-test/site-{os.getpid()}"
    monkeypatch.setattr(module, "IMAGE", image)
    try:
        client.networks.create(dead, labels={OWNER: "999999999-1"})
        with docker_site(name, busybox) as own:
            assert dead not in names(client)  # a killed quickstart's
            container = client.containers.run(image, ["sleep", "1000"], network=name, detach=True)
            container.reload()
            address = container.attrs["NetworkSettings"]["Networks"][name]["IPAddress"]
            assert int(address.rpartition(".")[2]) < 128
            assert own == address.rpartition(".")[0] + ".129/24"
            assert Path(f"/sys/class/net/{name}/bridge").is_dir()
        assert name not in names(client)
        with pytest.raises(docker.errors.NotFound):
            client.containers.get(container.id)
        assert not client.images.list(image)
    finally:
        client.close()
