import sys
from ipaddress import IPv4Network
from typing import Any

import pytest

from edged.mesh.redirected import here

pytestmark = [pytest.mark.root, pytest.mark.tool("nft"), pytest.mark.tool("ip"), pytest.mark.tool("curl")]

DNS = "169.254.96.16"
NOT_CONNECTED = 7  # curl(1): failed to connect
RESET = (NOT_CONNECTED, 52, 55, 56)  # curl(1): the same when the reset is quick, an empty answer, one while sending, receiving


@pytest.mark.tool("dig")
@pytest.mark.parametrize("place", ["gateway", "container"])
def test_the_host_and_a_container_call_by_name(site: Any, place: str) -> None:
    assert site.dig(place, "+short", "web.default.svc.cluster.local").split() == ["9.251.1.2"]
    assert site.dig(place, "+short", "+tcp", "web.default.svc.cluster.local").split() == ["9.251.1.2"]
    assert "status: NXDOMAIN" in site.dig(place, "nobody.default.svc.cluster.local")
    assert site.dig(place, "+short", "-x", "9.251.1.2").split() == ["web.default.svc.cluster.local."]
    for url in ("http://9.251.1.2/", "http://web.default.svc.cluster.local/", "http://web/"):
        done = site.curl(place, url)
        assert done.stdout == "from the pod\n", done.stderr
    assert site.curl(place, "http://far.default.svc.cluster.local/").stdout == "from far-0 on gw-b\n"
    assert site.statistics()["proxy"]["accepted"] == 1, "the pod of web is on this node: the kernel leads there"


@pytest.mark.parametrize("place", ["gateway", "container"])
def test_what_cannot_be_reached_is_said_at_once(site: Any, place: str) -> None:
    for url in ("http://9.251.1.2:81/", "http://9.251.77.77/"):
        assert site.curl(place, url).returncode == NOT_CONNECTED, f"{url}: no rule leads there"
    for url in ("http://9.251.1.4/", "http://9.251.1.5/"):
        assert site.curl(place, url).returncode in RESET, f"{url}: nobody answers there"
    statistics = site.statistics()["proxy"]
    assert (statistics["accepted"], statistics["unreachable"]) == (1, 1)


def test_the_proxy_serves_nobody_who_comes_without_a_rule(site: Any) -> None:
    sockets = site.run("gateway", "ss", "-Hltn", "src", DNS).stdout
    (port,) = {line.split()[3].rpartition(":")[2] for line in sockets.splitlines()} - {"53"}
    assert site.curl("container", f"http://{DNS}:{port}/").returncode in RESET
    assert site.statistics()["proxy"]["accepted"] == 0


def callers(site: Any, place: str, url: str, calls: int = 12) -> tuple[set[str], set[str]]:
    """The pods that answered some calls, and whom they saw."""
    said = [site.curl(place, url).stdout.split() for _ in range(calls)]
    assert all(len(words) == 3 for words in said), said
    return {words[0] for words in said}, {words[2] for words in said}


def test_calls_to_pods_of_this_node_never_enter_the_proxy(site: Any, pods: None) -> None:
    # A container's own address would be answered around the node that rewrote the call; ours is no way back for a pod.
    for place in ("gateway", "container"):
        assert callers(site, place, "http://9.251.1.6/") == ({"pod-a", "pod-b"}, {"10.77.0.1"})
    assert site.statistics()["proxy"]["accepted"] == 0


def test_a_pod_reaches_a_service_that_it_answers_itself(site: Any, pods: None) -> None:
    assert callers(site, "pod-a", "http://9.251.1.6/")[0] == {"pod-a", "pod-b"}


def test_a_client_keeps_its_pod(site: Any, pods: None) -> None:
    for place in ("gateway", "container", "pod-a", "pod-b"):  # the pods, which answer it themselves, by the proxy
        assert len(callers(site, place, "http://9.251.1.7/", 6)[0]) == 1


def test_node_ports_and_external_addresses(site: Any, pods: None) -> None:
    for url in ("http://192.0.2.1:30080/", "http://203.0.113.7/"):
        assert callers(site, "lan", url, 3)[1] == {"10.77.0.1"}
    for url in ("http://127.0.0.1:30080/", "http://192.0.2.1:30080/", "http://10.77.0.1:30080/"):
        assert callers(site, "gateway", url, 3)[1] == {"10.77.0.1"}
    assert callers(site, "container", "http://10.77.0.1:30080/", 3)[1] == {"10.77.0.1"}
    assert site.curl("lan", "http://192.0.2.1:30081/").returncode == NOT_CONNECTED


ASK = """
import socket, sys
address, port, size, times = sys.argv[1], *map(int, sys.argv[2:])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(20)
    for number in range(times):
        asking.sendto(b"x" * size, (address, port))
        data, sender = asking.recvfrom(65535)
        assert sender == (address, port), sender
        print(data.decode() if size < 1000 else len(data))
"""


def ask(site: Any, place: str, address: str, port: int = 53, size: int = 1, times: int = 3) -> list[str]:
    """What a client of UDP was answered, by who it asked."""
    done = site.run(place, sys.executable, "-c", ASK, address, str(port), str(size), str(times))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_datagrams_to_pods_of_this_node_never_enter_the_proxy(site: Any, pods: None) -> None:
    for place in ("gateway", "container"):
        said = [line.split() for line in ask(site, place, "9.251.1.6")]
        assert len({(pod, client) for pod, _, client, _ in said}) == 1, "a flow stays at its pod, from one source port"
        assert said[0][2].startswith("10.77.0.1:")
    assert ask(site, "gateway", "9.251.1.6", size=65507, times=1) == ["65507"]
    assert site.statistics()["datagrams"]["accepted"] == 0


def test_datagrams_to_other_nodes_and_from_elsewhere_go_by_the_proxy(site: Any, pods: None) -> None:
    for place in ("gateway", "container", "pod-a"):
        assert ask(site, place, "9.251.1.9") == ["x", "x", "x"]
        assert ask(site, place, "9.251.1.9", size=65507, times=1) == ["65507"]
    assert site.statistics()["datagrams"]["accepted"] == 6
    for address, port in (("192.0.2.1", 30053), ("203.0.113.7", 53)):
        assert {line.split()[0] for line in ask(site, "lan", address, port)} <= {"pod-a", "pod-b"}
    assert site.statistics()["datagrams"]["accepted"] == 8


def test_what_is_here() -> None:
    own = ["192.0.2.0/24", "10.0.0.0/8", "10.42.8.0/24", "10.42.9.0/24", "10.42.8.0/24", "10.42.9.0/25", "10.42.9.1/32"]
    found = here(IPv4Network("10.42.0.0/16"), map(IPv4Network, own))
    assert [str(each) for each in found] == ["10.42.8.0/24", "10.42.9.0/24"], "neighbours are not one network"


@pytest.mark.parametrize("place", ["gateway", "container"])
def test_pods_of_other_nodes_are_called_by_address(site: Any, place: str) -> None:
    for port in ("80", "9999"):
        assert site.curl(place, f"http://10.77.9.5:{port}/").stdout == "from far-1 on gw-b\n"
    assert ask(site, place, "10.77.9.5", port=5353) == ["x", "x", "x"]
    for nobody in ("10.77.9.77", "10.77.9.6", "10.77.9.1"):  # the second one is said to be of this node, and is not
        assert site.curl(place, f"http://{nobody}/").returncode in RESET
    assert site.statistics()["proxy"]["accepted"] == 2
    assert site.statistics()["datagrams"]["accepted"] == 1


def test_a_client_may_call_two_pods_from_one_port(site: Any) -> None:
    said = site.run("gateway", sys.executable, "-c", TWO)
    assert said.stdout.split() == ["x", "y"], said.stderr


TWO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(20)
    places = {b"x": ("10.77.9.5", 53), b"y": ("10.77.9.5", 5353)}
    for what, place in places.items():
        asking.sendto(what, place)
    for what, sender in sorted(asking.recvfrom(100) for _ in places):
        assert places[what] == sender, sender
        print(what.decode())
"""


def test_pods_on_one_network_call_each_other_without_us(site: Any, pods: None) -> None:
    assert site.curl("container", "http://10.77.0.3/").stdout == "pod-a saw 10.77.0.2\n"
    assert site.curl("gateway", "http://10.77.0.3/").stdout == "pod-a saw 10.77.0.1\n"
    assert site.statistics()["proxy"]["accepted"] == 0


def test_who_is_on_the_lan_does_not_call_pods_of_other_nodes(site: Any) -> None:
    assert site.curl("lan", "http://10.77.9.5/").returncode in RESET
    assert site.statistics()["proxy"]["accepted"] == 0


def test_a_pod_sees_the_pod_that_calls_it_from_another_node(site: Any, pods: None) -> None:
    assert site.ask("call pod-a") == "pod-a saw 10.77.9.5\n"


STEADY = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(0.2)
    pods = []
    while len(set(pods)) < 2:
        try:
            asking.sendto(b"x", ("9.251.1.6", 53))
            pods.append(asking.recv(100).decode().split()[0])
        except (TimeoutError, PermissionError):  # the latter in the moment in which the kernel takes new rules for the old
            continue
        if len(pods) == 1:
            print(pods[0], flush=True)
    print(pods[-1], flush=True)
"""


@pytest.mark.parametrize("place", ["gateway", "container"])
def test_a_client_that_keeps_its_port_leaves_a_pod_that_is_gone(site: Any, pods: None, place: str) -> None:
    with site.begun(place, STEADY) as asking:
        first = asking.stdout.readline().strip()
        site.statistics(delete=first)
        assert {first, asking.stdout.readline().strip()} == {"pod-a", "pod-b"}


CONNECTED = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(20)
    asking.connect(("9.251.77.77", 53))
    asking.send(b"x")
    asking.recv(1)
"""


@pytest.mark.parametrize("place", ["gateway", "container"])
def test_a_datagram_to_nobody_is_refused_at_once(site: Any, place: str) -> None:
    said = site.run(place, sys.executable, "-c", CONNECTED).stderr.splitlines()[-1]
    assert said.split(":")[0] in ("ConnectionRefusedError", "PermissionError"), "the latter when the host itself calls"


FILTERS = """
table inet theirs {{
    chain input {{
        type filter hook input priority 0; policy drop;
        iifname "lo" accept
        ct state established,related accept
        {more}
    }}
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        {more}
    }}
}}
"""


@pytest.mark.parametrize(
    ("more", "places"),
    [
        ("ct status dnat accept", ("gateway", "container", "lan")),  # as firewalld has it
        ("", ("gateway",)),  # as ufw has it: what comes from elsewhere it wants to be asked for
        ('iifname "bridge" accept', ("gateway", "container")),  # ufw allow in on bridge; ufw route allow in on bridge
    ],
)
def test_beside_drop_policies(site: Any, pods: None, more: str, places: tuple[str, ...]) -> None:
    assert site.run("gateway", "nft", FILTERS.format(more=more)).returncode == 0
    for place in places:
        assert callers(site, place, "http://203.0.113.7/", 2)[0] <= {"pod-a", "pod-b"}
    if "container" in places:
        assert callers(site, "container", "http://9.251.1.6/", 2)[0] <= {"pod-a", "pod-b"}
        assert site.curl("container", "http://9.251.1.3/").stdout == "from far-0 on gw-b\n"
        assert site.curl("container", "http://10.77.9.5/").stdout == "from far-1 on gw-b\n"
    assert site.curl("gateway", "http://10.77.9.5/").stdout == "from far-1 on gw-b\n"
    assert site.ask("call pod-a") == "pod-a saw 10.77.9.5\n"
