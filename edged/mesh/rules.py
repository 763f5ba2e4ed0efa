"""The nftables ruleset of the mesh, as text for `nft -f -` (nft(8)): one table of our own, `ip edged`, replaced whole.

(Not as JSON: nft 1.0.6, Debian 12's, dies of a JSON map whose values are an address and a port.)

A call to a door that has pods on this node goes straight to one of them: from the host itself, and from containers on the
networks of those pods. Every other call goes to the proxy: from there no rule of somebody else's forward chain is in its
way, as Docker's are between two of its networks and between the LAN and a container. So does a pod's call to a service that
it answers itself: a bridge (with br_netfilter, which Docker may load) gives no frame back to where it came from.

A call to a pod's address goes to the proxy, too, when the pod is on another node, or on another network of this one; where
both ends are on one network no rule looks at it. Others on the LAN, who have no business there, are not let in.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

from edged.mesh.addresses import NETWORK, aliases
from edged.mesh.policy import BY_CHANCE, BY_HASH, BY_TURNS
from edged.mesh.table import ANY, Door

DNAT, SNAT = -100, 100  # the priorities of destination and source NAT
BEFORE_FILTERS = -10  # a drop policy of somebody's forward chain must not swallow our quick refusal
SLOTS = 251  # of a client's hash: a prime some times larger than the pods of a service on one node
SEED = "0x65646764"

Address = tuple[str, int]


class Target(NamedTuple):
    """Where the calls to a door go: `pods` on this node, or the proxy's port when there are none; 0 when it has no such port.

    One of several is drawn `by` chance, by turns, or by a hash of the client's address, which keeps its pod.
    """

    proxy: int
    pods: tuple[Address, ...] = ()
    by: str = BY_CHANCE


class ByAddress(NamedTuple):
    """Calls to addresses of pods. `network` is the pod network, `here` those of its addresses that are on this machine.

    `bridges` are the interfaces of containers; `tcp` and `udp` the proxy's ports for calls to pods that are not `here`.
    """

    network: IPv4Network
    here: Sequence[str]
    bridges: Sequence[str]
    tcp: int
    udp: int


def ruleset(targets: Mapping[Door, Target], proxy: str, networks: Iterable[str], pods: ByAddress | None = None) -> str:
    """The transaction after which exactly these doors lead to their targets. `proxy` is the proxy's address.

    `networks` are those of this node's pods: calls of containers on them go to pods directly, as those of the host do.
    """
    doors = sorted(targets.items())
    direct = [(door, target) for door, target in doors if target.pods and door.address != ANY]
    proxied = [(door, target.proxy) for door, target in doors if target.proxy]
    several = {door: f"pods_{at}" for at, (door, target) in enumerate(direct) if len(target.pods) > 1}
    one = [(door, target.pods[0]) for door, target in direct if door not in several]
    own = [f"{ip} . {_key(door)}" for door, target in direct for ip in sorted({ip for ip, _ in target.pods})]
    near = sorted(networks)
    outside = sorted({door.address for door in targets if door.address != ANY and not door.address.startswith(_PREFIX)})
    key = "type ipv4_addr . inet_proto . inet_service :"
    to = "ipv4_addr . inet_service"
    return "\n".join([
        removal(),
        "table ip edged {",
        *_named("map one", f"{key} {to}", (f"{_key(door)} : {ip} . {port}" for door, (ip, port) in one)),
        *_named("map several", f"{key} verdict", (f"{_key(door)} : goto {chain}" for door, chain in several.items())),
        *_named("map proxied", f"{key} {to}", (f"{_key(d)} : {proxy} . {port}" for d, port in proxied if d.address != ANY)),
        *_named(
            *("map node_ports", f"type inet_proto . inet_service : {to}"),
            (f"{_protocol(d)} . {d.port} : {proxy} . {port}" for d, port in proxied if d.address == ANY),
        ),
        *_named("set own", "type ipv4_addr . ipv4_addr . inet_proto . inet_service", own),
        *_named("set addresses", "type ipv4_addr; flags interval", [NETWORK, *outside]),
        *_named("set networks", "type ipv4_addr; flags interval", near),
        *_named("set hairpins", "type ipv4_addr . ipv4_addr; flags interval", (f"{each} . {each}" for each in near)),
        *(line for door, chain in several.items() for line in _chain(chain, [_choice(door, targets[door])])),
        *_chain("direct", [f"{_DIALLED} vmap @several", f"dnat ip addr . port to {_DIALLED} map @one"]),
        *_chain("to_proxy", [f"dnat ip addr . port to {_DIALLED} map @proxied", _NODE_PORT]),
        *_chain("prerouting", [_BY_POD, "jump to_proxy"], f"nat hook prerouting priority {DNAT}"),
        *_chain("output", ["jump direct", "jump to_proxy"], f"nat hook output priority {DNAT}"),
        *_chain("postrouting", [_HAIRPIN, _OURSELVES.format(proxy=proxy)], f"nat hook postrouting priority {SNAT}"),
        *_chain("refuse_local", _REFUSALS, f"filter hook output priority {BEFORE_FILTERS}"),
        *_chain("refuse_forwarded", _REFUSALS, f"filter hook forward priority {BEFORE_FILTERS}"),
        *(_by_address(pods, proxy) if pods is not None else ()),
        "}\n",
    ])  # fmt: skip


def _by_address(pods: ByAddress, proxy: str) -> Iterator[str]:
    """Chains of their own: of two at one hook, the one whose rule matches first decides where a call goes."""
    there = f"ip daddr {pods.network} ip daddr != @pods_here"
    away = f"ip daddr {pods.network} ip saddr . ip daddr != @pods_near iifname @bridges fib daddr type != local"
    ports = (("tcp", pods.tcp), ("udp", pods.udp))
    to = {
        which: [f"{which} meta l4proto {name} dnat to {proxy}:{port}" for name, port in ports if port]
        for which in (there, away)
    }
    yield from _named("set pods_here", "type ipv4_addr; flags interval", pods.here)
    yield from _named("set pods_near", "type ipv4_addr . ipv4_addr; flags interval", (f"{each} . {each}" for each in pods.here))
    yield from _named("set bridges", "type ifname", (f'"{each}"' for each in pods.bridges))
    yield from _chain("pods_prerouting", to[away], f"nat hook prerouting priority {DNAT}")
    yield from _chain("pods_output", to[there], f"nat hook output priority {DNAT}")
    # Of root alone, as the daemon is: nobody else here is to speak in the name of pods elsewhere.
    ours = aliases(pods.network)
    its = f"meta skuid 0 ip saddr {ours} snat ip prefix to ip saddr map {{ {ours} : {pods.network} }}"
    yield from _chain("pods_postrouting", [its], f"nat hook postrouting priority {SNAT}")
    refusals = [f"{there} meta l4proto tcp reject with tcp reset", f"{there} reject with icmp port-unreachable"]
    yield from _chain("pods_refuse_local", refusals, f"filter hook output priority {BEFORE_FILTERS}")
    yield from _chain("pods_refuse_forwarded", refusals, f"filter hook forward priority {BEFORE_FILTERS}")


def removal() -> str:
    """The transaction after which no table of ours is left, whether or not there was one.

    Deleting a table that is not there is an error; adding one that is there is none.
    """
    return "table ip edged\ndelete table ip edged\n"


def slots(pods: Sequence[Address]) -> list[Address]:
    """A pod for each of SLOTS: the one of highest weight (rendezvous hashing).

    When a pod comes or goes, only the clients change theirs that were or are at this one, after a restart of the node too.
    """
    return [max(pods, key=lambda pod: _weight(slot, pod)) for slot in range(SLOTS)]


def _weight(slot: int, pod: Address) -> bytes:
    return hashlib.sha256(f"{slot}/{pod[0]}:{pod[1]}".encode()).digest()


def _choice(door: Door, target: Target) -> str:
    """The rule that sends a call to one of several pods."""
    pods = slots(target.pods) if target.by == BY_HASH else target.pods
    drawn = {BY_HASH: f"jhash ip saddr mod {len(pods)} seed {SEED}", BY_TURNS: f"numgen inc mod {len(pods)}"}
    pick = drawn.get(target.by, f"numgen random mod {len(pods)}")
    places = ", ".join(f"{at} : {ip} . {port}" for at, (ip, port) in enumerate(pods))
    return f"meta l4proto {_protocol(door)} dnat ip addr . port to {pick} map {{ {places} }}"


def _key(door: Door) -> str:
    return f"{door.address} . {_protocol(door)} . {door.port}"


def _protocol(door: Door) -> str:
    return door.protocol.lower()


def _named(what: str, properties: str, elements: Iterable[str]) -> list[str]:
    listed = ", ".join(elements)
    return [f"{what} {{", f"{properties};", *([f"elements = {{ {listed} }}"] if listed else []), "}"]


def _chain(name: str, rules: Iterable[str], hook: str = "") -> list[str]:
    return [f"chain {name} {{", *([f"type {hook}; policy accept;"] if hook else []), *rules, "}"]


_PREFIX = NETWORK.removesuffix("0.0/16")
_DIALLED = "ip daddr . meta l4proto . th dport"
_BY_POD = f"ip saddr @networks ip saddr . {_DIALLED} != @own jump direct"
_NODE_PORT = "fib daddr type local dnat ip addr . port to meta l4proto . th dport map @node_ports"
# A pod would answer a client on its own network directly, and not by the node that rewrote the call's destination.
_HAIRPIN = "ct status dnat ct original ip daddr @addresses ip saddr . ip daddr @hairpins masquerade"
# Our own address of calls to services is a link-local one, to which a container may have no way back.
_OURSELVES = 'ct status dnat ip saddr {proxy} oifname != "lo" masquerade'
_REFUSALS = (
    f"ip daddr {NETWORK} meta l4proto tcp reject with tcp reset",
    f"ip daddr {NETWORK} reject with icmp port-unreachable",
)
