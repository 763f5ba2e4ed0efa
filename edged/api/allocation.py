"""What a Service is given that no other has: its address, and a node port for each port of type NodePort.

Both are given by hash of what they are for, so that two nodes that cannot see each other give the same to the same service.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from edged.api.routes import Route
from edged.api.status import invalid
from edged.errors import InvalidError
from edged.model import causes
from edged.model.meta import JSON
from edged.model.objects import Object, whole
from edged.model.rules.services import EXTERNAL_NAME, HEADLESS, NODE_PORT, NODE_PORTS
from edged.store.store import Store

SERVICES = "services"
Allocate = Callable[[str, str, set[str]], str]
NodePort = tuple[str, int]  # protocol and number


class Addresses(NamedTuple):
    """Addresses of services: `allocate(namespace, name, used)` gives one that is free, `serves` knows one when it sees it."""

    allocate: Allocate
    serves: Callable[[str], bool]


class Allocations:
    """Gives out what is free in `store`, and holds what is about to be written."""

    def __init__(self, store: Store, addresses: Addresses) -> None:
        self._store, self._given = store, addresses
        self._addresses: set[str] = set()
        self._ports: set[NodePort] = set()

    @contextmanager
    def settled(self, route: Route, value: JSON, old: Object | None = None) -> Iterator[None]:
        """Put in what a service lacks, and hold it until it is written. StatusError when another has what it asks for.

        What it had before (`old`) it keeps, even when a node that was away gave the same to another one.
        """
        if route.row.resource != SERVICES:
            yield
            return
        spec, name = value.setdefault("spec", {}), str(value["metadata"]["name"])
        others = [
            whole(obj).get("spec", {})
            for obj in self._store.list(SERVICES)
            if (obj.key.namespace, obj.key.name) != (route.namespace, name)
        ]
        was = whole(old).get("spec", {}) if old is not None else {}
        addresses = self._address(route, name, spec, was, others)
        ports = self._node_ports(route, name, spec, was, others)
        self._addresses |= addresses
        self._ports |= ports
        try:
            yield
        finally:
            self._addresses -= addresses
            self._ports -= ports

    def _address(self, route: Route, name: str, spec: JSON, was: JSON, others: list[JSON]) -> set[str]:
        asked = spec.get("clusterIP")
        if asked == HEADLESS or spec.get("type") == EXTERNAL_NAME or (asked and asked == was.get("clusterIP")):
            return set()
        used = self._addresses.union(service.get("clusterIP", "") for service in others)
        if asked and (asked in used or not self._given.serves(asked)):
            why = "provided IP is already allocated" if asked in used else "the provided IP is not in the valid range"
            raise invalid(route.row, name, [causes.invalid("spec.clusterIP", asked, why)])
        address = asked or self._given.allocate(route.namespace, name, used)
        spec["clusterIP"], spec["clusterIPs"] = address, [address]
        return {address}

    def _node_ports(self, route: Route, name: str, spec: JSON, was: JSON, others: list[JSON]) -> set[NodePort]:
        if spec.get("type") != NODE_PORT:
            return set()
        used = self._ports.union(*(_node_ports(service) for service in others))
        mine = _node_ports(spec)
        for at, port in enumerate(spec.get("ports", ())):
            if port.get("nodePort") and _place(port) in used - _node_ports(was):
                why = "provided port is already allocated"
                raise invalid(route.row, name, [causes.invalid(f"spec.ports[{at}].nodePort", port["nodePort"], why)])
        for port in spec.get("ports", ()):
            if not port.get("nodePort"):
                port["nodePort"] = node_port(route.namespace, name, port["protocol"], port["port"], used | mine)
                mine.add(_place(port))
        return mine


def node_port(namespace: str, name: str, protocol: str, port: int, used: set[NodePort]) -> int:
    """The node port of a port of service `namespace/name`: always the same, or when that is in `used` the next free one.

    InvalidError when none is free.
    """
    wanted = hashlib.sha256(f"{namespace}/{name}/{protocol}/{port}".encode()).digest()
    start = int.from_bytes(wanted[:8], "big") % len(NODE_PORTS)
    for step in range(len(NODE_PORTS)):
        number = NODE_PORTS[(start + step) % len(NODE_PORTS)]
        if (protocol, number) not in used:
            return number
    raise InvalidError(f"no {protocol} node port is free for service {namespace}/{name}")


def keep(value: JSON, before: JSON) -> None:
    """A service keeps its address and node ports when a client leaves them out, and loses them with the type that has them."""
    spec, was = value.setdefault("spec", {}), before.get("spec", {})
    if spec.get("type") == EXTERNAL_NAME:
        for field in ("clusterIP", "clusterIPs"):
            if spec.get(field) == was.get(field):
                spec.pop(field, None)
    else:
        for field in ("clusterIP", "clusterIPs"):
            if not spec.get(field) and was.get(field):
                spec[field] = was[field]
    given = {(port.get("protocol"), port["port"]): port["nodePort"] for port in was.get("ports", ()) if port.get("nodePort")}
    for port in spec.get("ports", ()):
        mine = given.get((port.get("protocol"), port["port"]))
        if spec.get("type") != NODE_PORT and port.get("nodePort") == mine:
            port.pop("nodePort", None)
        elif spec.get("type") == NODE_PORT and mine and not port.get("nodePort"):
            port["nodePort"] = mine


def _node_ports(spec: JSON) -> set[NodePort]:
    return {_place(port) for port in spec.get("ports", ()) if port.get("nodePort")}


def _place(port: JSON) -> NodePort:
    return port.get("protocol", "TCP"), port["nodePort"]
