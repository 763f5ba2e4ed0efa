"""Two gateways with a Docker each: pods call each other by their own addresses, and see who calls."""

import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from build.fleet import temporary
from build.group import Group, OnLan
from build.lab import Lan
from build.story import is_ready
from edged.model.ranges import claim
from tests.e2e.dockerds import Dockerd, dockerds
from tests.e2e.images import archive

pytestmark = [
    *(pytest.mark.root, pytest.mark.docker, pytest.mark.tool("nft"), pytest.mark.tool("dockerd"), pytest.mark.tool("docker")),
    *(pytest.mark.tool("nsenter"), pytest.mark.tool("perl"), pytest.mark.tool("busybox-static")),
]

SECONDS = 60.0  # a bound, not an expectation: a busy machine is slow, not wrong
IMAGE = "edged-test/peer:latest"
PERL = "/usr/bin/perl"
PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
TCP, UDP = 8123, 5353  # no Service declares them
REFUSED = ("Connection refused", "Connection reset by peer")
NETWORK = IPv4Network("10.42.0.0/18")  # in it the names of both nodes lead to the same range

# Answers by TCP and UDP: who is seen, and what came.
SERVE = f"""
if (!fork) {{
  socket(U, PF_INET, SOCK_DGRAM, 17); bind(U, sockaddr_in({UDP}, INADDR_ANY)) or die;
  while (defined(my $c = recv(U, my $d, 65535, 0))) {{ my ($p, $a) = sockaddr_in($c); send(U, inet_ntoa($a)." ".$d, 0, $c) }}
}}
socket(T, PF_INET, SOCK_STREAM, 6); setsockopt(T, SOL_SOCKET, SO_REUSEADDR, 1);
bind(T, sockaddr_in({TCP}, INADDR_ANY)) or die; listen(T, 9);
while (my $c = accept(C, T)) {{
  my ($p, $a) = sockaddr_in($c); sysread(C, my $d, 100); syswrite(C, inet_ntoa($a)." ".$d); close(C)
}}
"""
# Says a word to a host, and prints what is answered; a third argument chooses UDP.
CALL = """
my ($host, $port, $udp) = @ARGV; alarm 20;
my @ip = (gethostbyname($host))[4] or die "no $host";
socket(S, PF_INET, $udp ? SOCK_DGRAM : SOCK_STREAM, $udp ? 17 : 6);
connect(S, sockaddr_in($port, $ip[0])) && send(S, "hello", 0) && defined recv(S, my $d, 65535, 0) or do { print $!; exit };
print $d;
"""


def pod(name: str, node: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": IMAGE, "command": [PERL, "-MSocket", "-e", SERVE], "imagePullPolicy": "Never"}
    wish = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "peers", "name": name}},
        "spec": wish,
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": TCP}], **spec}}


HEADLESS = service("peers", selector={"app": "peers"}, clusterIP="None")


class Site:
    """Two nodes, their dockerds, and a pod on each."""

    def __init__(self, group: Group, lan: Lan, daemons: list[Dockerd]) -> None:
        self.group, self.lan = group, lan
        self.nodes = group.nodes
        self.docker = dict(zip(self.nodes, daemons, strict=True))

    def get(self, path: str, at: int = 0) -> Any:
        return self.group.local(self.nodes[at]).get(path)

    def ready(self, *names: str) -> None:
        """Wait until both nodes show the pods ready."""
        for at in range(len(self.nodes)):
            for name in names:
                self.group.wait(f"pod {name}", lambda name=name, at=at: is_ready(self.get(f"{PODS}/{name}", at)), SECONDS)  # type: ignore[misc]

    def address(self, name: str) -> str:
        return str(self.get(f"{PODS}/{name}")["status"]["podIP"])

    def container(self, name: str) -> str:
        status = self.get(f"{PODS}/{name}")["status"]["containerStatuses"][0]
        return str(status["containerID"]).removeprefix("docker://")

    def create(self, thing: Any) -> None:
        self.group.local(self.nodes[0]).create(thing)

    def ranges(self, at: int = 0) -> dict[str, str]:
        return {each["metadata"]["name"]: each["spec"].get("podCIDR", "") for each in self.get(NODES, at)["items"]}

    def told(self, reason: str) -> list[str]:
        """The messages of such events."""
        return [each["message"] for each in self.get("/api/v1/events", 1)["items"] if each["reason"] == reason]

    def set_range(self, at: int, range_: str) -> None:
        """Have a node use another range, and wait until both say so."""
        wish = {"spec": {"podCIDR": range_, "podCIDRs": [range_]}}
        self.group.local(self.nodes[at]).patch(f"{NODES}/{self.nodes[at]}", wish)
        self.group.wait("the range", lambda: self.ranges()[self.nodes[at]] == range_, SECONDS)

    def restarts(self, name: str) -> int:
        return int(self.get(f"{PODS}/{name}")["status"]["containerStatuses"][0]["restartCount"])

    def call(self, name: str, host: str, port: int, udp: str = "") -> str:
        """What a pod is answered."""
        node = self.get(f"{PODS}/{name}")["spec"]["nodeName"]
        argv = ("exec", self.container(name), PERL, "-MSocket", "-e", CALL, host, str(port), udp)
        return self.docker[node].run(*argv, check=False)

    def host_call(self, at: int, host: str, port: int, udp: str = "") -> str:
        """What a program of a node's host is answered."""
        argv = [PERL, "-MSocket", "-e", CALL, host, str(port), udp]
        return self.lan.run(self.lan.nodes[at], argv, check=False).stdout


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with temporary("edged-pods") as folder, Lan(3) as lan, dockerds(lan, lan.nodes[:2], folder / "docker") as daemons:
        where = OnLan(lan)
        with Group(folder, where) as group:
            group.found()
            for node, daemon in zip(group.nodes, daemons, strict=True):
                daemon.load(IMAGE, archive(PERL, folders=[perl_base()]))
                runtime = {"driver": "docker", "docker_socket": str(daemon.socket)}
                group.configure(node, mesh={"enabled": True, "pod_network": str(NETWORK)}, runtime=runtime)
            group.start_nodes(*group.nodes)
            made = Site(group, lan, daemons)
            group.wait("ranges", lambda: all(len(set(made.ranges(at).values())) == 2 for at in range(2)), SECONDS)
            for thing in (pod("one", group.nodes[0]), pod("two", group.nodes[1]), pod("near", group.nodes[0]), HEADLESS):
                made.create(thing)
            made.ready("one", "two", "near")
            yield made


def perl_base() -> str:
    """The folder of the modules that every Debian has."""
    argv = [PERL, "-e", "print grep /perl-base/, @INC"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS).stdout


def test_each_node_has_a_range_and_its_pods_are_in_it(site: Site) -> None:
    ranges = site.ranges()
    assert claim(site.nodes[0], "", NETWORK, []) in ranges.values(), "both want it, and one has it"
    assert all(IPv4Network(each).subnet_of(NETWORK) for each in ranges.values())
    for name, node in (("one", site.nodes[0]), ("near", site.nodes[0]), ("two", site.nodes[1])):
        assert IPv4Address(site.address(name)) in IPv4Network(ranges[node])


@pytest.mark.parametrize("udp", ["", "udp"])
def test_pods_call_each_other_across_nodes_and_see_who_calls(site: Site, udp: str) -> None:
    port = UDP if udp else TCP
    for caller, called in (("one", "two"), ("two", "one"), ("one", "near")):
        assert site.call(caller, site.address(called), port, udp) == f"{site.address(caller)} hello"


@pytest.mark.parametrize("udp", ["", "udp"])
def test_the_host_calls_pods_anywhere(site: Site, udp: str) -> None:
    port = UDP if udp else TCP
    for at, gateway in enumerate(("one", "two")):
        for called in ("one", "two"):
            assert site.host_call(at, site.address(called), port, udp).endswith(" hello"), (gateway, called)


def test_a_headless_name_leads_to_pods_of_both_nodes(site: Site) -> None:
    for name in ("one", "two", "near"):
        assert site.call("one", f"{name}.peers", TCP).endswith(" hello")
        assert site.call("two", f"{name}.peers.default.svc.cluster.local", UDP, "udp").endswith(" hello")


def test_nobody_is_refused_at_once(site: Site) -> None:
    nobody = str(IPv4Address(site.address("two")) + 90)
    assert site.call("one", nobody, TCP) in REFUSED
    assert site.host_call(0, nobody, TCP) in REFUSED
    assert site.call("one", site.address("two"), 22) in REFUSED, "the pod has no such port"


def test_the_node_itself_is_not_called_by_way_of_its_pods(site: Site) -> None:
    gateway = str(IPv4Network(f"{site.address('two')}/24", strict=False).network_address + 1)
    assert site.call("one", gateway, 22) in REFUSED


def test_pods_go_on_when_their_nodes_range_becomes_another_ones(site: Site) -> None:
    """As after a split in which two nodes took the same range: the other one has it now."""
    first, second = site.nodes
    before = site.ranges()
    free = [str(each) for each in NETWORK.subnets(new_prefix=24) if str(each) not in before.values()]
    site.set_range(1, free[0])
    site.set_range(0, before[second])
    for name, node in (("new-one", first), ("new-two", second)):
        site.create(pod(name, node))
    for name in ("two", "new-one"):
        site.create(service(name, selector={"name": name}))
    site.ready("new-one", "new-two")
    assert IPv4Address(site.address("new-two")) in IPv4Network(free[0])
    assert IPv4Address(site.address("new-one")) in IPv4Network(before[second])
    assert [site.restarts(name) for name in ("one", "two", "near")] == [0, 0, 0]
    for caller, called in (("one", "new-two"), ("new-two", "one"), ("new-two", "two"), ("two", "new-two"), ("one", "new-one")):
        assert site.call(caller, site.address(called), TCP).endswith(" hello"), f"{caller} calls {called}"
    for caller, called in (("new-one", "two"), ("two", "new-one")):
        assert site.call(caller, called, TCP).endswith(" hello"), "they are in one range on two nodes: by service"
    two = f"edged-{before[second].removesuffix('/24')}"
    assert two in site.docker[second].run("network", "ls")
    site.group.local(first).delete(f"{PODS}/two")
    gone = lambda: two not in site.docker[second].run("network", "ls")  # noqa: E731
    site.group.wait("the end of the old network", gone, SECONDS)


def test_a_node_that_reaches_something_else_there_says_so_and_its_pods_go_on(site: Site) -> None:
    second = site.nodes[1]
    site.group.stop(second)
    site.lan.run(site.lan.nodes[1], ["ip", "address", "add", "10.42.60.1/30", "dev", "eth0"])
    site.group.start_nodes(second)
    site.create(pod("late", second))
    site.ready("late", "new-two")
    assert site.address("late").startswith("172.17.")
    assert site.restarts("new-two") == 0
    assert site.ranges()[second] == ""
    (said,) = site.told("NoPodNetwork")
    assert "this machine reaches 10.42.60.0/30 by eth0" in said
