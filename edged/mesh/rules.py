"""The nftables ruleset of the mesh, as JSON for `nft -j -f -` (libnftables-json(5)).

One table of our own, `ip edged`; nobody else's is touched. Each transaction replaces it whole, so that it never depends on
what was there before. Connections to known (service address, port) pairs, from this host or passing through from a
container, go to the proxy; whatever else is sent to the network of service addresses is rejected at once.
"""

from collections.abc import Iterable
from typing import Any

from edged.mesh.addresses import NETWORK

TABLE = {"family": "ip", "name": "edged"}
SET = "services"
DNAT = -100  # the priority of destination NAT
BEFORE_FILTERS = -10  # a drop policy of somebody's forward chain must not swallow our quick refusal

Command = dict[str, Any]


def ruleset(pairs: Iterable[tuple[str, int]], proxy: tuple[str, int]) -> Command:
    """The transaction after which exactly `pairs` of (service address, port) lead to `proxy` (address, port)."""
    elements = [{"concat": [address, port]} for address, port in sorted(pairs)]
    services: Command = {"family": "ip", "table": "edged", "name": SET, "type": ["ipv4_addr", "inet_service"]}
    if elements:
        services["elem"] = elements
    to_proxy: list[Command] = [
        {"match": {"op": "==", "left": {"concat": [_field("ip", "daddr"), _field("tcp", "dport")]}, "right": f"@{SET}"}},
        {"dnat": {"addr": proxy[0], "port": proxy[1]}},
    ]
    return _transaction(
        *_replace(),
        {"add": {"table": TABLE}},
        {"add": {"set": services}},
        *_chain("prerouting", "prerouting", "nat", DNAT, [to_proxy]),
        *_chain("output", "output", "nat", DNAT, [to_proxy]),
        *_chain("refuse_local", "output", "filter", BEFORE_FILTERS, _rejects()),
        *_chain("refuse_forwarded", "forward", "filter", BEFORE_FILTERS, _rejects()),
    )


def removal() -> Command:
    """The transaction after which no table of ours is left, whether or not there was one."""
    return _transaction(*_replace())


def _transaction(*commands: Command) -> Command:
    return {"nftables": list(commands)}


def _replace() -> list[Command]:
    """Deleting a table that is not there is an error; adding one that is there is none."""
    return [{"add": {"table": TABLE}}, {"delete": {"table": TABLE}}]


def _chain(name: str, hook: str, type_: str, priority: int, rules: list[list[Command]]) -> list[Command]:
    chain = {"family": "ip", "table": "edged", "name": name, "type": type_, "hook": hook, "prio": priority, "policy": "accept"}
    where = {"family": "ip", "table": "edged", "chain": name}
    return [{"add": {"chain": chain}}, *({"add": {"rule": {**where, "expr": rule}}} for rule in rules)]


def _rejects() -> list[list[Command]]:
    network, length = NETWORK.split("/")
    ours = {"match": {"op": "==", "left": _field("ip", "daddr"), "right": {"prefix": {"addr": network, "len": int(length)}}}}
    tcp = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}
    return [
        [ours, tcp, {"reject": {"type": "tcp reset"}}],
        [ours, {"reject": {"type": "icmp", "expr": "port-unreachable"}}],
    ]


def _field(protocol: str, name: str) -> Command:
    return {"payload": {"protocol": protocol, "field": name}}
