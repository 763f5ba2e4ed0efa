"""As root: one listener takes the connections that the rules send it, and asks the kernel where they were bound for."""

import socket
import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import trio

from edged.errors import UnreachableError
from edged.kit.interfaces import networks
from edged.kit.log import Log
from edged.mesh import conntrack, kernel, streams, udp
from edged.mesh.clients import inner_bridges
from edged.mesh.datagrams import Datagrams
from edged.mesh.names import Name
from edged.mesh.proxy import Proxy
from edged.mesh.rules import ByAddress, Target, ruleset
from edged.mesh.table import ANY, TCP, UDP, Called, Door, Table
from edged.mesh.udpdoors import Place, UdpDoors
from edged.model.ranges import bridge

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h
PODS_UDP = 10042  # the same after a restart: the kernel goes on sending the datagrams of flows to where they went before
ANYBODY = {("", 0)}  # who answered before we were there
_LOOPBACK = IPv4Network("127.0.0.0/8")  # where process pods are; no other machine or container is on it
SOCKADDR_IN = struct.Struct("!HH4s8x")  # ip(7), with the family, which we do not read, in the host's order


class Redirected:
    """Entrance of a node with root. `run` it first; `update` then keeps the kernel's rules like the table."""

    def __init__(self, table: Callable[[], Table], proxy: Proxy, datagrams: Datagrams, log: Log) -> None:
        self._table, self._proxy, self._datagrams = table, proxy, datagrams
        self._log = log
        self._here: list[IPv4Network] = []
        self._pods_udp = 0
        self._udp: UdpDoors[Called] = UdpDoors(datagrams)
        self._port = 0
        self._applied = ""
        self._answering: dict[tuple[str, int], set[tuple[str, int]]] | None = None
        self._doors: dict[tuple[Name, int], tuple[str, int]] = {}

    @property
    def listeners(self) -> dict[tuple[Name, int], tuple[str, int]]:
        """Where a client reaches each (service, TCP port)."""
        return self._doors

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take connections until cancelled. UnreachableError when the address cannot be had."""
        try:
            listener = await streams.listen(kernel.ADDRESS, 0)
        except OSError as error:
            raise UnreachableError(f"the proxy cannot listen on {kernel.ADDRESS}: {error.strerror}") from error
        self._port, self._applied, self._answering = listener.getsockname()[1], "", None
        async with trio.open_nursery() as nursery:
            await nursery.start(self._udp.run)
            await nursery.start(self._serve_pods)
            task_status.started()
            await streams.serve(listener, self._serve, nursery)

    async def _serve_pods(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Datagrams to addresses of pods come to one socket, and the kernel knows to which address each client sent them."""
        sock = _bound()
        self._pods_udp = sock.getsockname()[1]
        task_status.started()
        try:
            await self._datagrams.serve(sock, self._called)
        finally:
            udp.close(sock)

    def _called(self, client: tuple[str, int]) -> Called | None:
        try:
            called = conntrack.called((kernel.ADDRESS, self._pods_udp), client)
        except UnreachableError as error:
            self._log.debug(f"datagrams of {client[0]} go nowhere: {error}")
            return None
        return self._leads(*called, UDP) if called is not None else None

    def _leads(self, address: str, port: int, protocol: str) -> Called | None:
        """Where a call goes that a rule sent here. A pod that is said to be here, and is not, would be called in a circle."""
        table = self._table()
        called = table.called(address, port, protocol)
        if called is None or not called.pod or table.pods.at[address].node != table.node:
            return called
        return called if any(IPv4Address(address) in network for network in self._here) else None

    async def update(self) -> None:
        """Make the rules match the table. UnreachableError when the kernel refuses: the rules of before stay."""
        table = self._table()
        places = {called: Place(kernel.ADDRESS, 0, called) for called in table.doors.values() if called.port.protocol == UDP}
        troubles = self._udp.update(places)
        targets = {door: self._target(table, called) for door, called in table.doors.items()}
        addresses = {ip for target in targets.values() for ip, _ in target.pods}
        try:
            own = [each for found in networks().values() for each in found]
        except OSError as error:
            raise UnreachableError(f"the addresses of this machine: {error.strerror}") from error
        rules = ruleset(targets, kernel.ADDRESS, _near(addresses, own), self._by_address(table, own))
        if rules != self._applied:
            await kernel.apply(rules)
            self._applied = rules
            await self._forget(targets)
        served = [each for each in table.doors.items() if each[0].protocol == TCP and each[0].address in table.addressed]
        self._doors = {(called.name, called.port.number): (door.address, door.port) for door, called in served}
        if troubles:
            raise UnreachableError("; ".join(troubles))

    def _by_address(self, table: Table, own: Iterable[IPv4Interface]) -> ByAddress | None:
        """What the rules need. The range of this node and its bridge count before Docker has made them."""
        pods = table.pods.network
        if pods is None:
            return None
        self._here = here(pods, [*(each.network for each in own), *([table.pods.own] if table.pods.own else [])])
        bridges = {*inner_bridges(), *([bridge(str(table.pods.own))] if table.pods.own else [])}
        return ByAddress(pods, [str(each) for each in self._here], sorted(bridges), self._port, self._pods_udp)

    async def _forget(self, targets: Mapping[Door, Target]) -> None:
        """Have flows of UDP begin anew whose pod is gone; at first also those that a daemon before us left."""
        answering = {
            (door.address, door.port): {*target.pods, (kernel.ADDRESS, target.proxy)}
            for door, target in targets.items()
            if door.protocol == UDP and door.address != ANY
        }
        before = self._answering if self._answering is not None else dict.fromkeys(answering, ANYBODY)
        self._answering = answering
        lost = {called: answering.get(called, set()) for called, pods in before.items() if pods - answering.get(called, set())}
        if lost:
            await trio.to_thread.run_sync(conntrack.forget, lost)

    def _target(self, table: Table, called: Called) -> Target:
        entry = table.entries[called.name]
        here = [each for each in entry.ports[called.port].endpoints if each.node == table.node]
        if entry.policy.header or entry.allow is not None:  # the kernel does not read requests, nor know who calls
            here = []
        pods = tuple((each.ip, each.port) for each in here)
        return Target(self._port if called.port.protocol == TCP else self._udp.port(called), pods, entry.policy.kind)

    async def _serve(self, client: trio.SocketStream) -> None:
        try:
            address, port = original_destination(client.socket)
        except OSError:  # it came to our port directly, or its entry in the kernel's table is gone
            await streams.reset(client)
            return
        called = self._leads(address, port, TCP)
        if called is None:
            await streams.reset(client)
        else:
            await self._proxy.serve(client, called)


def here(pods: IPv4Network, own: Iterable[IPv4Network]) -> list[IPv4Network]:
    """The parts of the pod network that are on this machine, each once; two that are side by side are still two networks."""
    found = {each for each in own if each.subnet_of(pods)}
    return sorted(each for each in found if not any(each != other and each.subnet_of(other) for other in found))


def _bound() -> socket.socket:
    """At PODS_UDP, or, when a program listens there at all addresses, at another port: flows of before begin anew then."""
    for port in (PODS_UDP, 0):
        with suppress(OSError):
            return udp.bound(kernel.ADDRESS, port)
    raise UnreachableError(f"the proxy cannot listen on {kernel.ADDRESS} for datagrams")


def original_destination(sock: trio.socket.SocketType) -> tuple[str, int]:
    """Where a connection was bound for before a rule sent it here. OSError when the kernel does not know."""
    _, port, address = SOCKADDR_IN.unpack(sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, SOCKADDR_IN.size))
    return socket.inet_ntoa(address), port


def _near(pods: Collection[str], own: Iterable[IPv4Interface]) -> set[str]:
    """The networks of pods that have addresses of their own there. Pods with an address of the host have none."""
    networks_of = {each.ip: each.network for each in own}
    containers = [ip for pod in pods if (ip := IPv4Address(pod)) not in networks_of]
    there = {network for network in networks_of.values() if any(ip in network for ip in containers)}
    return {str(network) for network in there - {_LOOPBACK}}
