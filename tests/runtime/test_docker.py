"""What Docker has of its own, beyond the contract of test_driver.py."""

import copy
import gc
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from edged.errors import InvalidError, UnreachableError
from edged.model.core import ContainerPort
from edged.runtime.docker import LABELS, DockerDriver, observed
from edged.runtime.driver import LOG_FILE_BYTES, LOG_FILES

FOUND: dict[str, Any] = {
    "Id": "abc",
    "Created": "2026-01-01T00:00:00.5Z",
    "Image": "sha256:1",
    "Config": {
        "Labels": {
            **{label: field for field, label in LABELS.items()},
            LABELS["attempt"]: "3",
            LABELS["crashes"]: "2",
            LABELS["grace"]: "9",
        }
    },
    "State": {
        "Status": "running",
        "OOMKilled": False,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-01-01T00:00:01.123456789Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
}
CREATED = 1767225600.5


def found(state: dict[str, Any] | None = None, labels: dict[str, Any] | None = None) -> dict[str, Any]:
    one = copy.deepcopy(FOUND)
    one["State"] |= state or {}
    one["Config"]["Labels"] |= labels or {}
    return one


def test_a_running_container() -> None:
    seen = observed(FOUND)
    assert seen is not None
    assert (seen.state, seen.address, seen.image_id, seen.exit_code, seen.finished) == (
        "running",
        "172.17.0.2",
        "sha256:1",
        None,
        None,
    )
    assert (seen.created, seen.started) == (CREATED, 1767225601.123456)
    identity = seen.identity
    assert (identity.node, identity.uid, identity.attempt, identity.crashes, identity.grace) == ("node", "uid", 3, 2, 9)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Status": "paused"}, ("running", None, "")),
        ({"Status": "exited", "ExitCode": 3}, ("exited", 3, "")),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, ("exited", 137, "OOMKilled")),
        ({"Status": "dead", "ExitCode": 1}, ("exited", 1, "")),
        ({"Status": "created"}, ("created", None, "")),
        ({"Status": "created", "ExitCode": 127, "Error": "no such file"}, ("exited", 128, "StartError")),
    ],
)
def test_states(state: dict[str, Any], expected: tuple[Any, ...]) -> None:
    seen = observed(found(state))
    assert seen is not None
    assert (seen.state, seen.exit_code, seen.reason) == expected
    assert (seen.finished is None) == (seen.state != "exited")


def test_a_life_too_short_for_dockerds_stamps() -> None:
    seen = observed(found({"Status": "exited", "FinishedAt": "2026-01-01T00:00:01.1Z"}))
    assert seen is not None
    assert seen.finished == seen.started


@pytest.mark.parametrize(
    "one", [found({"Status": "removing"}), found(labels={LABELS["attempt"]: "x"}), {**FOUND, "Config": {"Labels": None}}]
)
def test_what_is_not_ours(one: dict[str, Any]) -> None:
    assert observed(one) is None


@pytest.fixture
def client() -> Iterator[docker.APIClient]:
    made = docker.APIClient()
    yield made
    made.close()


@pytest.mark.docker
async def test_how_it_is_made(docker_kit: Any, client: docker.APIClient) -> None:
    driver = DockerDriver(docker_kit.node, dns=["192.0.2.53"])
    docker_kit.made.append(driver)
    spec = docker_kit.spec(
        "true", cpu=0.5, memory=64 << 20, hostname="h" * 70, ports=(ContainerPort(80, host_port=0), ContainerPort(81))
    )
    made = client.inspect_container(await driver.create(spec))
    host = made["HostConfig"]
    assert (host["NanoCpus"], host["Memory"]) == (500_000_000, 64 << 20)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": str(LOG_FILE_BYTES), "max-file": str(LOG_FILES)}}
    assert (host["Dns"], host["DnsOptions"]) == (["192.0.2.53"], ["ndots:5", "edns0"])
    assert host["DnsSearch"] == ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert host["Privileged"] is False
    assert made["Config"]["Hostname"] == "h" * 63
    assert made["Config"]["Labels"]["edged.io/pod-uid"] == spec.identity.uid


@pytest.mark.docker
async def test_a_port_of_the_host_leads_to_the_container(docker_kit: Any, client: docker.APIClient) -> None:
    driver = docker_kit.driver()
    ports = (ContainerPort(8080, host_port=0xE3D1, host_ip="127.0.0.1"), ContainerPort(53, protocol="UDP", host_port=0xE3D1))
    one = await docker_kit.run(driver, docker_kit.spec("sleep 600", ports=ports))
    published = client.inspect_container(one.id)["NetworkSettings"]["Ports"]
    assert published["8080/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(0xE3D1)}]
    assert published["53/udp"][0]["HostPort"] == str(0xE3D1)
    second = await docker_kit.run(driver, docker_kit.spec("true", ports=ports))
    assert (second.state, second.reason) == ("exited", "StartError")
    assert "port is already allocated" in second.message


@pytest.mark.docker
async def test_a_network_that_is_not_there(docker_kit: Any) -> None:
    driver = DockerDriver(docker_kit.node, network="no-such-network")
    docker_kit.made.append(driver)
    one = await docker_kit.run(driver, docker_kit.spec("true"))
    assert one.reason == "StartError"
    assert "no-such-network" in one.message


@pytest.mark.docker
async def test_what_dockerd_refuses_to_make(docker_kit: Any) -> None:
    driver = docker_kit.driver()
    with pytest.raises(InvalidError, match="No command specified"):
        await driver.create(docker_kit.spec("", command=()))
    with pytest.raises(InvalidError, match="No such image"):
        await driver.create(docker_kit.spec("true", image="edged-test/none:none"))
    with pytest.raises(InvalidError, match="memory limit"):
        await driver.create(docker_kit.spec("true", memory=1))


@pytest.mark.docker
async def test_always_falls_back_to_the_image_that_is_here(docker_kit: Any, client: docker.APIClient) -> None:
    client.tag(docker_kit.image, "127.0.0.1:1/edged-test", "here")
    try:
        await docker_kit.driver().pull("127.0.0.1:1/edged-test:here", "Always")
    finally:
        client.remove_image("127.0.0.1:1/edged-test:here")


async def test_a_runtime_that_is_away() -> None:
    driver = DockerDriver("gw-a", socket="/nonexistent/docker.sock")
    with pytest.raises(UnreachableError):
        await driver.containers()
    with pytest.raises(UnreachableError):
        await driver.watch(lambda uid: None)
    driver.close()
    gc.collect()
