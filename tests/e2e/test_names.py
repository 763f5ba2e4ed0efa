"""Names in pods of real daemons: known with the first question, and again after the daemon was away."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from build.fleet import temporary
from build.group import Group, OnLoopback
from build.processes import named
from build.story import is_ready
from tests.e2e.images import archive

SECONDS = 60.0  # a bound, not an expectation: a busy machine is slow, not wrong
NODE = "gw-01"
WEB = "web.default.svc.cluster.local"  # that a name leads to a pod is shown in tests/mesh
DNS = "169.254.96.16"
POD = "/api/v1/namespaces/default/pods"
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
}


def pod(name: str, image: str, *command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": list(command), "imagePullPolicy": "Never"}
    wish = {"nodeName": NODE, "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": wish}


def log(group: Group, name: str) -> list[str]:
    return group.local(NODE).get(f"{POD}/{name}/log").split()


@pytest.mark.tool("setpriv")
@pytest.mark.tool("dig")
def test_a_process_asks_before_during_and_after_a_restart() -> None:
    network = f"127.{100 + os.getpid() % 100}"
    server = f"{network}.0.53"
    mark = f"edged-names-{uuid.uuid4().hex[:8]}"
    ask = (
        f"dig +noall +answer +comments +tries=1 +time=1 @{server} -p 10053 {WEB} | grep -oE 'status: [A-Z]+|{network}[0-9.]*$'"
    )
    script = f": {mark}; while true; do {ask}; sleep 0.05; done"
    with temporary("edged-names") as folder, Group(folder, OnLoopback(1), peers=False) as group:
        group.found(mesh={"enabled": True, "rootless": True, "loopback": f"{network}.0.0/16"})
        group.start_nodes(NODE)
        local = group.local(NODE)
        local.create(SERVICE)
        address = str(local.get("/api/v1/namespaces/default/services/web")["spec"]["clusterIP"]).replace("9.251", network, 1)
        local.create(pod("asks", "host", "sh", "-c", script))

        def answers(more: int) -> bool:
            return log(group, "asks").count(address) >= more

        try:
            group.wait("a first answer", partial(answers, 1), SECONDS)
            assert log(group, "asks")[:2] == ["status:", "NOERROR"], "the first question was answered"
            group.kill(NODE)
            loop = min(named(mark))  # it forks for each question
            group.start_nodes(NODE)
            known = log(group, "asks").count(address)
            group.wait("answers after the restart", partial(answers, known + 1), SECONDS)
            assert loop in named(mark), "the process went on"
            assert "NXDOMAIN" not in log(group, "asks"), "it was never told that there is nothing"
        finally:
            for pid in named(mark):
                os.kill(pid, signal.SIGKILL)


class Gateway:
    """A namespace as a gateway, with a bridge on which Docker's containers are: they send all that is not theirs to it."""

    title = "a namespace with a network of Docker"
    modbus = 0
    relay = "127.0.0.1:1"
    nodes = (NODE,)

    def __init__(self, namespace: str, network: str) -> None:
        self._namespace, self._network = namespace, network

    def argv(self, who: str, argv: Sequence[str | Path]) -> list[str]:
        return ["ip", "netns", "exec", self._namespace, *map(str, argv)]

    def settings(self, node: str) -> dict[str, Any]:
        return {"runtime": {"driver": "docker", "network": self._network}, "hub": {"discovery": False}}


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


@pytest.fixture
def getent_image() -> Iterator[str]:
    """busybox and getent."""
    import docker  # noqa: PLC0415  heavy

    client = docker.from_env()
    tag = uuid.uuid4().hex[:12]
    try:
        client.api.import_image_from_data(archive("/usr/bin/getent"), repository="edged-test/getent", tag=tag)
        yield f"edged-test/getent:{tag}"
        client.images.remove(f"edged-test/getent:{tag}", force=True)
    finally:
        client.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    import docker  # noqa: PLC0415  heavy
    from docker.types import IPAMConfig, IPAMPool  # noqa: PLC0415

    name = f"edn{os.getpid()}"
    subnet = f"10.243.{os.getpid() % 250}"
    own = f"{subnet}.129"
    client = docker.from_env()
    pool = IPAMPool(subnet=f"{subnet}.0/24", iprange=f"{subnet}.0/25", aux_addresses={"DefaultGatewayIPv4": own})
    options = {"com.docker.network.bridge.name": name}
    network = client.networks.create(name, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), options=options)
    try:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", f"{name}p", "type", "veth", "peer", "name", "port", "netns", name)
        run("ip", "link", "set", f"{name}p", "master", name, "up")
        run("ip", "-n", name, "link", "add", "pods", "type", "bridge")
        run("ip", "-n", name, "link", "set", "port", "master", "pods", "up")
        run("ip", "-n", name, "address", "add", f"{own}/24", "dev", "pods")
        run("ip", "-n", name, "link", "set", "pods", "up")
        run("ip", "-n", name, "route", "add", "default", "via", f"{subnet}.1")  # by which the node knows its address
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield Gateway(name, name)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        for container in client.containers.list(all=True, filters={"network": str(network.id)}):
            container.remove(force=True, v=True)
        network.remove()
        client.close()


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.tool("nft")
@pytest.mark.tool("setpriv")
def test_a_container_asks_by_short_and_long_names(gateway: Gateway, getent_image: str) -> None:
    ask = f"getent hosts web; getent hosts {WEB}; exec sleep 600"
    with temporary("edged-names") as folder, Group(folder, gateway, peers=False) as group:
        group.found()
        group.start_nodes(NODE)
        local = group.local(NODE)
        local.create(SERVICE)
        local.create(pod("web", getent_image, "sleep", "600"))
        group.wait("the pod", lambda: is_ready(local.get(f"{POD}/web")), SECONDS)
        address = local.get("/api/v1/namespaces/default/services/web")["spec"]["clusterIP"]
        local.create(pod("asks", getent_image, "sh", "-c", ask))
        group.wait("what the container saw", lambda: len(log(group, "asks")) >= 4, SECONDS)
        assert log(group, "asks") == [address, WEB, address, WEB]

        container = local.get(f"{POD}/asks")["status"]["containerStatuses"][0]["containerID"].removeprefix("docker://")
        resolv_conf = run("docker", "exec", container, "cat", "/etc/resolv.conf")
        assert "ndots:5" in resolv_conf
        assert "search default.svc.cluster.local svc.cluster.local cluster.local" in resolv_conf
        asked = ["docker", "exec", container, "getent", "hosts", "web"]

        group.stop(NODE)
        away = subprocess.run(["timeout", "3", *asked], capture_output=True, check=False, timeout=SECONDS)
        assert away.returncode, "nobody answers while the daemon is away"
        group.start_nodes(NODE)
        group.wait("the name after the restart", lambda: run(*asked).split() == [address, WEB], SECONDS)
        assert local.get(f"{POD}/asks")["status"]["containerStatuses"][0]["restartCount"] == 0

        pod_ip = local.get(f"{POD}/web")["status"]["podIP"]
        by_address = f"{pod_ip.replace('.', '-')}.default.pod.cluster.local"
        assert run("docker", "exec", container, "getent", "hosts", by_address).split()[0] == pod_ip
        reverse = ".".join(reversed(pod_ip.split("."))) + ".in-addr.arpa"
        # Of its own networks Docker's resolver, which stands between on any network but its default one, answers this itself.
        assert by_address in run("docker", "exec", container, "nslookup", "-type=ptr", reverse, DNS), "and back"
        node = run("docker", "exec", container, "getent", "hosts", f"{NODE}.node.edged")
        assert node.split()[0] == local.get(f"{POD}/web")["status"]["hostIP"]
