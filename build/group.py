"""A group of many nodes as processes of this machine, for tests and benchmarks: on loopback, or on a LAN of namespaces."""

import datetime
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from build.fleet import READY_S, Fleet, Settings, toml
from build.lab import Lan
from edged.identity.authority import Authority
from edged.identity.bundle import join
from edged.kit.files import private_dir, write_private

GROUP = "site"
API_PORT, LINK_PORT, RELAY_PORT = 6443, 7400, 7443
AT_ONCE = 4  # nodes that start together: each takes a core for a third of a second, and its peers' dials give up after seconds
NETWORKS = range(16, 64)  # 127.x: the pods of the process driver have addresses from 127.64 on
DARK = """
table inet dark {{
    chain input {{
        type filter hook input priority filter
        meta l4proto udp ip saddr {{ {others} }} drop
    }}
}}
"""


def node_names(count: int) -> tuple[str, ...]:
    """`gw-01`, `gw-02` and so on: their order as texts is their order."""
    return tuple(f"gw-{number:02}" for number in range(1, count + 1))


class OnLoopback:
    """Every node at an address of its own in a /24 of 127.0.0.0/8 that nobody else here uses; `relay` at its last address."""

    title = "processes on loopback"
    modbus = 0

    def __init__(self, nodes: int) -> None:
        self.nodes = node_names(nodes)
        self._network = free_network()
        self.relay = f"{self._network}.254:{RELAY_PORT}"

    def address(self, node: str) -> str:
        """Where its links come in."""
        return f"{self._host(node)}:{LINK_PORT}"

    def argv(self, who: str, argv: Sequence[str | Path]) -> list[str]:
        """As it is."""
        return [str(argument) for argument in argv]

    def connect(self, who: str, host: str, port: int) -> socket.socket:
        """As it is."""
        return socket.create_connection((host, port), 5)

    def settings(self, node: str) -> Settings:
        """No mesh: its resolvers and addresses would be those of the machine."""
        host = self._host(node)
        return {
            "api": {"listen": f"{host}:{API_PORT}"},
            "hub": {"listen": f"{host}:{LINK_PORT}"},
            "mesh": {"enabled": False},
        }

    def _host(self, node: str) -> str:
        return f"{self._network}.{self.nodes.index(node) + 1}"


class OnLan:
    """Every node in a namespace of its own on one LAN, the relay in the last one."""

    title = "namespaces on one LAN"
    modbus = 0

    def __init__(self, lan: Lan) -> None:
        *own, last = lan.nodes
        self.lan, self.nodes = lan, node_names(len(own))
        self._places = dict(zip((*self.nodes, "relay"), lan.nodes, strict=True))
        self.relay = f"{lan.address(last)}:{RELAY_PORT}"

    def address(self, node: str) -> str:
        """Where its links come in."""
        return f"{self.lan.address(self._places[node])}:{LINK_PORT}"

    def argv(self, who: str, argv: Sequence[str | Path]) -> list[str]:
        """Through `ip netns exec`."""
        return self.lan.argv(self._places[who], argv)

    def connect(self, who: str, host: str, port: int) -> socket.socket:
        """From inside the namespace."""
        return self.lan.connect(self._places[who], host, port)

    def settings(self, node: str) -> Settings:
        """The defaults, without the mesh."""
        return {"mesh": {"enabled": False}}

    def split(self, *sides: Sequence[str]) -> None:
        """No datagram gets from one side to another any more. What goes over TCP through the relay still does."""
        for side in sides:
            others = ", ".join(self.lan.address(self._places[node]) for other in sides if other is not side for node in other)
            for node in side:
                self.lan.run(self._places[node], ["nft", "-f", "-"], text=DARK.format(others=others))

    def heal(self, *nodes: str) -> None:
        """Take away what `split` did to these nodes."""
        for node in nodes:
            self.lan.run(self._places[node], ["nft", "delete", "table", "inet", "dark"])


class Group(Fleet):
    """A fleet of one group: the nodes of its site. `peers`: each knows the addresses of all others from its settings.

    `relayed`: they know the site's relay from their bundles, whether it runs or not.
    """

    def __init__(self, folder: Path, site: OnLoopback | OnLan, *, peers: bool = True, relayed: bool = False) -> None:
        super().__init__(folder, Path(sys.executable).parent, site)
        self.nodes = site.nodes
        self._addresses = {node: [site.address(node)] for node in site.nodes} if peers else {}
        self._relays = [f"wss://{site.relay}"] if relayed else []

    def found(self, **more: Mapping[str, object]) -> None:
        """The authority, the relay's certificate, and each node's identity and settings, with `more` in the tables named."""
        now = datetime.datetime.now(datetime.UTC)
        authority = Authority.create(self.folder / "authority", "trial", now)
        bundle = authority.issue_relay("relay", [self.site.relay.partition(":")[0]], now)
        relay = private_dir(self.folder / "relay")
        files = {"relay.crt": bundle.certificate, "relay.key": bundle.key, "authority.crt": bundle.authority}
        for name, data in files.items():
            write_private(relay / name, data)
        for node in self.nodes:
            join(authority.issue(node, GROUP, self._relays, now), self.folder / node)
            self.configure(node, **more)

    def configure(self, node: str, /, **more: Mapping[str, object]) -> None:
        """Write a node's settings; they hold from its next start on."""
        peers = {name: addresses for name, addresses in self._addresses.items() if name != node}
        tables: Settings = {"node": {"state_dir": str(self.folder / node)}, "runtime": {"driver": "process"}, "hub": {}}
        if peers:
            tables["hub"]["peers"] = peers
        for name, table in (*self.site.settings(node).items(), *more.items()):
            tables[name] = {**tables.get(name, {}), **table}
        self.config(node).write_text(toml(tables))

    def start_nodes(self, *nodes: str) -> None:
        """Start daemons, AT_ONCE at a time; return when all answer."""
        for first in range(0, len(nodes), AT_ONCE):
            some = nodes[first : first + AT_ONCE]
            for node in some:
                self.start(node, self.daemon(node))
            for node in some:
                self.wait(f"{node}'s API to answer", partial(self.local(node).get, "/readyz"), READY_S, alive=node)


def free_network() -> str:
    """The first three numbers of a /24 of loopback addresses that no group of another program uses at the moment."""
    for second in NETWORKS:
        network = f"127.{second}.{os.getpid() % 250}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            try:
                trial.bind((f"{network}.1", LINK_PORT))
            except OSError:
                continue
            return network
    raise OSError("no loopback network is free: too many groups run on this machine")
