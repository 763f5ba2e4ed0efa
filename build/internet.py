"""An internet of network namespaces: a relay and sites behind NATs of every kind, joined by one router.

    nodes --lan-- nat --wan--+-- router --+-- relay (203.0.113.2)
    192.168.1.2, .3          |            |
                        203.0.113.6       +-- the next site, and so on; each has a /30 of 203.0.113.0/24

The router stands for a long way: a packet that could not pass three more of its kind dies there. Cables are veth pairs of MTU
1500. Whoever runs this is root.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from build.lab import Places, nat_rules

Kind = Literal["open", "easy", "tracking", "hard", "double", "blocked", "six"]
RELAY = "relay"
RELAY_4, RELAY_6 = "203.0.113.2", "2001:db8:ffff:0::2"
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


class Site(NamedTuple):
    """A site, and its nodes on one LAN.

    `open`: one node with a public address. `easy`: a NAT that keeps ports and drops what comes unasked; `tracking`: one that
    remembers it; `hard`: a port for each flow; `double`: two easy ones in a row; `blocked`: no UDP leaves. `six`: IPv6 alone,
    behind a firewall that lets in what was asked for.
    """

    kind: Kind
    nodes: Sequence[str]


class Internet(Places):
    """`sites` and the place `relay`. A node is the place of its name."""

    def __init__(self, *sites: Site) -> None:
        super().__init__()
        if len(sites) > MOST:
            raise ValueError(f"{len(sites)} sites: at most {MOST}")
        self.sites = (Site("open", (RELAY,)), *sites)

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
            self._uplink(number, nat)
        self._lan(nat, f"192.168.{number}", [(node, "eth0") for node in site.nodes], six=number if site.kind == "six" else None)
        self._nat(nat, site.kind)

    def _uplink(self, number: int, place: str) -> None:
        """A cable to the router, of IPv4 and IPv6."""
        up = f"up{number}"
        self._cable(place, "wan", "router", up)
        for family, ours, theirs, size in (
            ("-4", f"203.0.113.{4 * number + 2}", f"203.0.113.{4 * number + 1}", 30),
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
        rules = nat_rules(random=kind == "hard", tracks=kind == "tracking", udp=kind != "blocked")
        self.run(place, ["nft", "-f", "-"], text=rules)

    def _forward(self, place: str) -> None:
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.run(place, ["tee", f"/proc/sys/net/{switch}"], text="1")
