"""An internet of network namespaces: a relay and sites behind NATs of every kind, joined by one router.

    nodes --lan-- nat --wan--+-- router --+-- relay (203.0.113.2)
    192.168.1.2, .3          |            |
                        203.0.113.6       +-- the next site, and so on; each has a /30 of 203.0.113.0/24

The router stands for a long way: a packet that could not pass three more of its kind dies there. Cables are veth pairs of MTU
1500. Whoever runs this is root.
"""

import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from build.lab import Places, nat_rules

Kind = Literal["open", "easy", "tracking", "hard", "mapped", "double", "blocked", "six"]
RELAY = "relay"
RELAY_4, RELAY_6 = "203.0.113.2", "2001:db8:ffff:0::2"
WORLD = "203.0.113"
MAPPABLE = "192.0.1"  # in its place for sites whose ports are mapped: miniupnpd takes the other for a private network
MOST = 60  # sites that the /24 has room for, beside the relay
ROUTER = """
table inet wire {
    set cut { type ifname . ifname; }
    chain lossy { }
    chain forward {
        type filter hook forward priority filter
        ip ttl < 4 drop
        ip6 hoplimit < 4 drop
        iifname . oifname @cut drop
        jump lossy
    }
}
"""
MAPPER_RULES = """
table inet nat {
    chain mapped { }
    chain opened { }
    chain remapped { }
    chain prerouting {
        type nat hook prerouting priority dstnat
        jump mapped
    }
    chain forward {
        jump opened
    }
}
"""
MAPPER = """
ext_ifname=wan
listening_ip=lan
enable_natpmp={pcp}
enable_upnp={upnp}
secure_mode=yes
upnp_table_name=nat
upnp_nat_table_name=nat
upnp_forward_chain=opened
upnp_nat_chain=mapped
upnp_nat_postrouting_chain=remapped
uuid={uuid}
allow 1024-65535 {net}.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


class Site(NamedTuple):
    """A site, and its nodes on one LAN.

    `open`: one node with a public address. `easy`: a NAT that keeps ports and drops what comes unasked; `tracking`: one that
    remembers it; `hard`: a port for each flow; `mapped`: the same, but its gateway maps a port to who asks by a protocol of
    `maps` (PCP stands for NAT-PMP, too); `double`: two easy ones in a row; `blocked`: no UDP leaves. `six`: IPv6 alone, behind
    a firewall that lets in what was asked for.
    """

    kind: Kind
    nodes: Sequence[str]
    maps: Sequence[Literal["PCP", "UPnP"]] = ("PCP", "UPnP")


class Internet(Places):
    """`sites` and the place `relay`. A node is the place of its name."""

    def __init__(self, *sites: Site) -> None:
        super().__init__()
        if len(sites) > MOST:
            raise ValueError(f"{len(sites)} sites: at most {MOST}")
        self.sites = (Site("open", (RELAY,)), *sites)
        self._mappers: list[subprocess.Popen[bytes]] = []

    def relay(self, node: str) -> str:
        """The relay's IP address for a node, as URLs have it."""
        return f"[{RELAY_6}]" if self.sites[self._site(node)].kind == "six" else RELAY_4

    def cut(self, one: str, other: str, *, off: bool) -> None:
        """Let no packet between the sites of two nodes pass, or let them pass again; the relay reaches both."""
        first, second = f"up{self._site(one)}", f"up{self._site(other)}"
        pairs = f'"{first}" . "{second}", "{second}" . "{first}"'
        self._nft(f"{'add' if off else 'delete'} element inet wire cut {{ {pairs} }}")

    def lose(self, percent: int) -> None:
        """Lose so many of all UDP datagrams, at random."""
        rule = f"add rule inet wire lossy meta l4proto udp numgen random mod 100 < {percent} drop" if percent else ""
        self._nft(f"flush chain inet wire lossy\n{rule}\n")

    def narrow(self, node: str, mtu: int) -> None:
        """Let the cable between the router and a node's site carry no more than this at a time."""
        number = self._site(node)
        self._ip("router", "link", "set", f"up{number}", "mtu", str(mtu))
        self._ip(self._edge(number), "link", "set", "wan", "mtu", str(mtu))

    def _edge(self, number: int) -> str:
        """The place that a site's uplink ends in."""
        site = self.sites[number]
        return site.nodes[0] if site.kind == "open" else f"outer{number}" if site.kind == "double" else f"nat{number}"

    def close(self) -> None:
        """As all places are closed; the programs that ran there are no zombies after it."""
        super().close()
        for mapper in self._mappers:
            mapper.wait()

    def _nft(self, text: str) -> None:
        self.run("router", ["nft", "-f", "-"], text=text)

    def _site(self, node: str) -> int:
        return next(number for number, site in enumerate(self.sites) if node in site.nodes)

    def _add(self, *places: str) -> None:
        super()._add(*places)
        for place in places:  # what waits to see whether somebody else has its IPv6 address cannot be used yet
            for interfaces in ("all", "default"):
                self.run(place, ["tee", f"/proc/sys/net/ipv6/conf/{interfaces}/accept_dad"], text="0")

    def _make(self) -> None:
        self._add("router")
        self._forward("router")
        self._nft(ROUTER)
        for number, site in enumerate(self.sites):
            self._make_site(number, site)

    def _make_site(self, number: int, site: Site) -> None:
        self._add(*site.nodes)
        if site.kind == "open":
            self._uplink(number, site.nodes[0])
            return
        nat = f"nat{number}"
        self._add(nat)
        if site.kind == "double":
            self._add(f"outer{number}")
            self._uplink(number, f"outer{number}")
            self._lan(f"outer{number}", f"10.{number}.0", [(nat, "wan")])
            self._nat(f"outer{number}", "easy")
        else:
            self._uplink(number, nat, MAPPABLE if site.kind == "mapped" else WORLD)
        self._lan(nat, f"192.168.{number}", [(node, "eth0") for node in site.nodes], six=number if site.kind == "six" else None)
        self._nat(nat, site.kind)
        if site.kind == "mapped":
            self._map(nat, f"192.168.{number}", site.maps)

    def _map(self, nat: str, net: str, protocols: Sequence[str]) -> None:
        """Have a real mapping daemon at the NAT; it ends with the place."""
        self.run(nat, ["nft", "-f", "-"], text=MAPPER_RULES)
        choice = {name.lower(): "yes" if name in protocols else "no" for name in ("PCP", "UPnP")}
        pid_file = Path(tempfile.gettempdir(), f"{self.name(nat)}.pid")  # the daemon removes it
        argv: list[str | Path] = ["miniupnpd", "-d", "-f", "/dev/stdin", "-P", pid_file]
        quiet = subprocess.DEVNULL
        with tempfile.TemporaryFile() as settings:
            settings.write(MAPPER.format(net=net, uuid=uuid.uuid4(), **choice).encode())
            settings.flush()
            self._mappers.append(self.popen(nat, argv, stdin=settings, stdout=quiet, stderr=quiet))

    def _uplink(self, number: int, place: str, net: str = WORLD) -> None:
        """A cable to the router, of IPv4 and IPv6."""
        up = f"up{number}"
        self._cable(place, "wan", "router", up)
        for family, ours, theirs, size in (
            ("-4", f"{net}.{4 * number + 2}", f"{net}.{4 * number + 1}", 30),
            ("-6", f"2001:db8:ffff:{number:x}::2", f"2001:db8:ffff:{number:x}::1", 64),
        ):
            self._address(place, "wan", f"{ours}/{size}")
            self._address("router", up, f"{theirs}/{size}")
            self._ip(place, family, "route", "add", "default", "via", theirs)
        self._ip("router", "-6", "route", "add", f"2001:db8:{number:x}::/64", "via", f"2001:db8:ffff:{number:x}::2")

    def _lan(self, gateway: str, net: str, ends: Iterable[tuple[str, str]], *, six: int | None = None) -> None:
        """`ends` (place, interface) on a bridge of the gateway, with a route through it; IPv6 in place of IPv4 for `six`."""
        prefix, size = (f"{net}.", 24) if six is None else (f"2001:db8:{six:x}::", 64)
        self._ip(gateway, "link", "add", "lan", "type", "bridge")
        self._address(gateway, "lan", f"{prefix}1/{size}")
        self._ip(gateway, "link", "set", "lan", "up")
        for number, (place, interface) in enumerate(ends, 2):
            self._cable(place, interface, gateway, f"port{number}")
            self._ip(gateway, "link", "set", f"port{number}", "master", "lan")
            self._address(place, interface, f"{prefix}{number}/{size}")
            self._ip(place, *([] if six is None else ["-6"]), "route", "add", "default", "via", f"{prefix}1")

    def _address(self, place: str, interface: str, address: str) -> None:
        self._ip(place, "addr", "add", address, "dev", interface)

    def _nat(self, place: str, kind: Kind) -> None:
        self._forward(place)
        rules = nat_rules(random=kind in ("hard", "mapped"), tracks=kind == "tracking", udp=kind != "blocked")
        self.run(place, ["nft", "-f", "-"], text=rules)

    def _forward(self, place: str) -> None:
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.run(place, ["tee", f"/proc/sys/net/{switch}"], text="1")
