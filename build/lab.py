"""Networks on one machine, of network namespaces: two sites behind NATs and the internet (Lab), or one LAN (Lan).

        a --lan-- nat-a --wan--+-------- public --------+--wan-- nat-b --lan-- b
    192.168.1.2    203.0.113.1 | 203.0.113.10 (a relay) | 203.0.113.2    192.168.2.2

        n1 --eth0--+-- switch --+--eth0-- n2
    192.168.7.1    |            |    192.168.7.2        and so on

Every cable is a veth pair of MTU 1500. A NAT (nftables masquerade) lets out what its site begins and nothing else in.
Whoever runs this is root.
"""

import ctypes
import json
import re
import shutil
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from build.processes import end, gone, owner, started

SITE = {"a": "192.168.1.2", "b": "192.168.2.2"}
NAT = {"a": "203.0.113.1", "b": "203.0.113.2"}  # the sites' public addresses
RELAY = "203.0.113.10"
LAN = "192.168.7"  # and the node's number
MOST_ON_LAN = 250  # nodes: what a /24 has room for
CONNECT_S = 5.0
CLONE_NEWNET = 0x40000000  # sched.h
ETC = Path("/etc/netns")
NAME = re.compile(r"edged-(\d+-\d+)-[a-z0-9-]+")  # edged-<owner>-<place>

_RULES = """
table inet nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat
        meta nfproto ipv4 oifname "wan" masquerade{ports}
    }}
    chain input {{
        type filter hook input priority filter; policy {unasked}
        ct state established,related accept
        iifname {{ "lo", "lan" }} accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop
        ct state established,related accept
        {barred}
        iifname "lan" accept
    }}
}}
"""


def nat_rules(*, random: bool = False, tracks: bool = False, udp: bool = True) -> str:
    """What a NAT between `lan` and `wan` does: it lets out what its site begins, and nothing else in.

    `random`: it draws a new port for each flow, so that a port seen by one peer is of no use to another. `tracks`: what comes
    unasked is not dropped but meant for the NAT itself, which remembers it. Without `udp` nothing of that leaves.
    """
    ports, unasked = (" fully-random" if random else ""), ("accept" if tracks else "drop")
    return _RULES.format(ports=ports, unasked=unasked, barred="" if udp else "meta l4proto udp drop")


def possible() -> bool:
    """Whether this user may make network namespaces here; the root of a container often may not."""
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


class Places(ABC):
    """Network namespaces for as long as a `with` block; what is in them and how they are joined says the subclass.

    Places of several programs do not meet; what a killed program left behind is removed by the next.
    """

    def __init__(self) -> None:
        self._prefix = f"edged-{owner()}-"

    def __enter__(self) -> Self:
        remove_leftovers()
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every program in the namespaces, then remove them."""
        remove([name for name in names() if name.startswith(self._prefix)])

    def name(self, place: str) -> str:
        """The namespace's name, as `ip netns` knows it."""
        return self._prefix + place

    def argv(self, place: str, argv: Sequence[str | Path]) -> list[str]:
        """The argument list that runs `argv` in a place, with that place's resolv.conf."""
        return ["ip", "netns", "exec", self.name(place), *map(str, argv)]

    def run(
        self, place: str, argv: Sequence[str | Path], *, text: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end with `text` as its input; its output is captured."""
        return subprocess.run(self.argv(place, argv), input=text, capture_output=True, text=True, check=check)

    def popen(self, place: str, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
        """Start as `subprocess.Popen` does."""
        return subprocess.Popen(self.argv(place, argv), **options)

    def connect(self, place: str, host: str, port: int) -> socket.socket:
        """A TCP connection begun in a place, for whoever is outside."""

        def inside() -> socket.socket:
            with Path(f"/run/netns/{self.name(place)}").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot enter {self.name(place)}")
            return socket.create_connection((host, port), CONNECT_S)

        with ThreadPoolExecutor(max_workers=1) as thread:  # a thread of its own: it never comes back from there
            return thread.submit(inside).result()

    def set_resolver(self, place: str, address: str) -> None:
        """Programs started in this place from now on ask `address` for names, first in cluster.local's services."""
        folder = ETC / self.name(place)
        folder.mkdir(parents=True, exist_ok=True)
        search = "search default.svc.cluster.local svc.cluster.local cluster.local"
        (folder / "resolv.conf").write_text(f"nameserver {address}\n{search}\n")

    def join_bridge(self, place: str, bridge: str, address: str) -> None:
        """Give a place a cable to a bridge of the machine itself (of a Docker network), and an address (with /prefix) there."""
        _ip("link", "add", f"{bridge}v", "type", "veth", "peer", "name", bridge, "netns", self.name(place))
        _ip("link", "set", f"{bridge}v", "master", bridge, "up")
        self._ip(place, "addr", "add", address, "dev", bridge)
        self._ip(place, "link", "set", bridge, "up")

    @abstractmethod
    def _make(self) -> None:
        """Make the places and the cables between them."""

    def _add(self, *places: str) -> None:
        for place in places:
            _ip("netns", "add", self.name(place))
            self._ip(place, "link", "set", "lo", "up")

    def _cable(self, place: str, end: str, other_place: str, other_end: str) -> None:
        self._ip(place, "link", "add", end, "type", "veth", "peer", "name", other_end, "netns", self.name(other_place))
        self._ip(place, "link", "set", end, "up")
        self._ip(other_place, "link", "set", other_end, "up")

    def _ip(self, place: str, *arguments: str) -> None:
        _ip("-n", self.name(place), *arguments)


class Lab(Places):
    """`a`, `nat-a`, `public`, `nat-b`, `b`; `symmetric` NATs draw a new random port for each flow."""

    def __init__(self, *, symmetric: bool = False) -> None:
        super().__init__()
        self._symmetric = symmetric

    def _make(self) -> None:
        self._add("a", "nat-a", "public", "nat-b", "b")
        self._ip("public", "link", "add", "internet", "type", "bridge")
        self._ip("public", "addr", "add", f"{RELAY}/24", "dev", "internet")
        self._ip("public", "link", "set", "internet", "up")
        for site in SITE:
            self._make_site(site)

    def _make_site(self, site: str) -> None:
        nat = f"nat-{site}"
        gateway = SITE[site].rpartition(".")[0] + ".1"
        self._cable(site, "eth0", nat, "lan")
        self._cable(nat, "wan", "public", nat)
        self._ip("public", "link", "set", nat, "master", "internet")
        self._ip(site, "addr", "add", f"{SITE[site]}/24", "dev", "eth0")
        self._ip(nat, "addr", "add", f"{gateway}/24", "dev", "lan")
        self._ip(nat, "addr", "add", f"{NAT[site]}/24", "dev", "wan")
        self._ip(site, "route", "add", "default", "via", gateway)
        self.run(nat, ["tee", "/proc/sys/net/ipv4/ip_forward"], text="1")
        self.run(nat, ["nft", "-f", "-"], text=nat_rules(random=self._symmetric))


class Lan(Places):
    """`n1`, `n2`, ... up to `nodes`, on one switch (a bridge in the place `switch`) that carries multicast to every port."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        if not 1 <= nodes <= MOST_ON_LAN:
            raise ValueError(f"a LAN of {nodes} nodes: expected 1 to {MOST_ON_LAN}")
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]

    @staticmethod
    def address(node: str) -> str:
        """The node's IP address on the LAN."""
        return f"{LAN}.{node.removeprefix('n')}"

    def plug(self, node: str, *, plugged: bool) -> None:
        """Pull a node's cable out of the switch, or put it back; the carrier of its own end goes and comes with it."""
        self._ip("switch", "link", "set", node, "up" if plugged else "down")

    def _make(self) -> None:
        self._add("switch", *self.nodes)
        self._ip("switch", "link", "add", "lan", "type", "bridge", "mcast_snooping", "0")
        self._ip("switch", "link", "set", "lan", "up")
        for node in self.nodes:
            self._cable(node, "eth0", "switch", node)
            self._ip("switch", "link", "set", node, "master", "lan")
            self._ip(node, "addr", "add", f"{self.address(node)}/24", "dev", "eth0")


def names() -> list[str]:
    """The namespaces of all labs and LANs on this machine."""
    shown = subprocess.run(["ip", "-json", "netns", "list"], capture_output=True, text=True, check=True).stdout
    listed = [entry["name"] for entry in json.loads(shown or "[]")]
    return [name for name in listed if NAME.fullmatch(name)]


def remove_leftovers() -> None:
    """Remove the places whose owner was killed."""
    remove([name for name in names() if (match := NAME.fullmatch(name)) and gone(match[1])])


def remove(namespaces: list[str]) -> None:
    """End every program in these namespaces and remove them, with their resolv.conf. Another program may do so too."""
    end(lambda: _pids(namespaces))
    for name in namespaces:
        try:
            _ip("netns", "delete", name)
        except subprocess.CalledProcessError:
            if name in names():
                raise
        shutil.rmtree(ETC / name, ignore_errors=True)


def _pids(namespaces: list[str]) -> list[int]:
    pids: list[int] = []
    for name in namespaces:
        shown = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
        if shown.returncode != 0 and name in names():
            shown.check_returncode()
        pids += [int(pid) for pid in shown.stdout.split() if started(int(pid))]
    return pids


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
