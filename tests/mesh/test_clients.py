import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from edged.mesh import clients
from edged.mesh.clients import LOOK_S, TRUST_S, Clients, allowed, inner_bridges
from tests.mesh.conftest import DNS, Site, ip

FOUND = {
    "lo": [IPv4Interface("127.0.0.1/8")],
    "eth0": [IPv4Interface("192.168.1.5/24")],
    "docker0": [IPv4Interface("172.17.0.1/16")],
}


@pytest.fixture
def interfaces(tmp_path: Path) -> Path:
    """As /sys/class/net: docker0 with a container, lan with a card, empty with nothing, and eth0."""
    for name in ("docker0", "lan", "empty"):
        (tmp_path / name / "bridge").mkdir(parents=True)
        (tmp_path / name / "brif").mkdir()
    for name, bridge in (("veth1", "docker0"), ("veth2", "lan"), ("eth1", "lan")):
        (tmp_path / name).mkdir()
        (tmp_path / bridge / "brif" / name).mkdir()
    for name in ("eth0", "eth1"):
        (tmp_path / name / "device").mkdir(parents=True)
    return tmp_path


def test_a_bridge_without_a_device_leads_to_containers_only(interfaces: Path) -> None:
    assert sorted(inner_bridges(interfaces)) == ["docker0", "empty"]


def test_own_addresses_and_the_networks_of_containers() -> None:
    found = allowed(FOUND, ["docker0"])
    assert [str(each) for each in found] == [
        *("127.0.0.0/8", "127.0.0.1/32", "192.168.1.5/32", "172.17.0.1/32", "172.17.0.0/16"),
    ]
    assert IPv4Network("192.168.1.0/24") not in found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the kernel says, the last one for ever; it shrinks with each look."""
    said: list[dict[str, Any]] = [FOUND]
    monkeypatch.setattr(clients, "networks", lambda: said.pop(0) if len(said) > 1 else said[0])
    return said


def test_the_node_and_its_containers_may_ask(interfaces: Path, looks: list[dict[str, Any]]) -> None:
    asked = Clients(interfaces)
    hosts = ("127.0.0.1", "127.96.0.1", "192.168.1.5", "172.17.3.4", "192.168.1.6", "8.8.8.8")
    assert [asked.allows(host, 0.0) for host in hosts] == [True] * 4 + [False] * 2
    assert len(looks) == 1


def test_a_network_that_is_made_later_is_found(interfaces: Path, looks: list[dict[str, Any]]) -> None:
    asked = Clients(interfaces)
    looks[:] = [FOUND, {**FOUND, "empty": [IPv4Interface("10.42.1.1/24")]}]
    assert not asked.allows("10.42.1.9", 0.0)
    assert not asked.allows("10.42.1.9", LOOK_S / 2), "a stranger does not make us look all the time"
    assert asked.allows("10.42.1.9", LOOK_S)


def test_a_network_that_went_is_forgotten(interfaces: Path, looks: list[dict[str, Any]]) -> None:
    asked = Clients(interfaces)
    looks[:] = [FOUND, {"lo": FOUND["lo"]}]
    assert asked.allows("172.17.0.9", 0.0)
    assert asked.allows("172.17.0.9", TRUST_S)
    assert not asked.allows("172.17.0.9", TRUST_S + 1)


def test_a_kernel_that_does_not_answer_changes_nothing(interfaces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Clients(interfaces)
    monkeypatch.setattr(clients, "networks", lambda: FOUND)
    assert asked.allows("172.17.0.9", 0.0)

    def broken() -> None:
        raise OSError

    monkeypatch.setattr(clients, "networks", broken)
    assert asked.allows("172.17.0.9", TRUST_S + 1)


@pytest.fixture
def bridge() -> Iterator[str]:
    name = f"edt{os.getpid()}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", "10.99.77.1/24", "dev", name], check=True)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=True)


@pytest.mark.root
def test_on_this_machine(bridge: str) -> None:
    assert bridge in inner_bridges()
    asked = Clients()
    assert asked.allows("10.99.77.2", 0.0)
    assert asked.allows("127.0.0.1", 0.0)
    assert not asked.allows("198.51.100.1", 0.0)


@pytest.mark.root
@pytest.mark.tool("nft")
@pytest.mark.tool("dig")
def test_a_machine_on_the_lan_that_sends_its_questions_to_us_is_not_answered(site: Site) -> None:
    """Linux takes a packet for any of its addresses on any interface."""
    ip("-n", site.names["lan"], "route", "add", DNS, "via", "192.0.2.1")
    asked = site.run("lan", "dig", f"@{DNS}", "+time=1", "+tries=1", "web.default.svc.cluster.local")
    assert "timed out" in asked.stdout
    assert site.statistics()["dns"]["refused"] == 1
    by_tcp = site.run("lan", "dig", f"@{DNS}", "+tcp", "+time=1", "+tries=1", "web.default.svc.cluster.local")
    assert by_tcp.returncode
    assert site.statistics()["dns"]["refused"] >= 2
    assert site.dig("container", "+short", "web.default.svc.cluster.local").split() == ["9.251.1.2"]
