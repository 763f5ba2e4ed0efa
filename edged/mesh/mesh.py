"""The mesh of one node: keeps the table like the store, and DNS, rules or listeners like the table."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from ipaddress import IPv4Network
from random import Random
from typing import Any

import trio
from trio.abc import HalfCloseableStream

from edged.errors import ExpiredError, UnreachableError
from edged.kit.address import Address, parse_address
from edged.kit.log import Log
from edged.mesh import kernel, zone
from edged.mesh.addresses import LOOPBACK, twin
from edged.mesh.balancer import Balancer
from edged.mesh.clients import Clients
from edged.mesh.datagrams import Datagrams
from edged.mesh.flowserver import FlowServer
from edged.mesh.forwarder import Forwarder
from edged.mesh.hostdns import HostDns
from edged.mesh.names import Name
from edged.mesh.pods import members
from edged.mesh.proxy import OpenStream, Proxy
from edged.mesh.redirected import Redirected
from edged.mesh.resolvers import Resolvers
from edged.mesh.server import DnsServer
from edged.mesh.socksserver import SocksServer
from edged.mesh.table import Table, build
from edged.mesh.tunnel import TunnelServer
from edged.mesh.twins import Twins
from edged.mesh.zone import Zone
from edged.model.core import Node, Pod, Service
from edged.model.endpoints import is_lost
from edged.model.istio import DestinationRule
from edged.model.multicluster import ServiceImport
from edged.model.objects import typed
from edged.store.store import Store
from edged.wire.peer import Flows, Tunnel

RULES, IMPORTS = "destinationrules.networking.istio.io", "serviceimports.multicluster.x-k8s.io"
MATTERS = frozenset({"services", "pods", "nodes", RULES, IMPORTS})  # readings of devices change every second, and nothing here
RETRY_S = 5.0  # what could not be put in place is tried again: a port taken, a kernel that refused
REMOVE_S = 10.0  # for taking rules and interface away on stop
DNS_PORT = 53
LOOPBACK_DNS = "9.251.0.53"  # its twin; addresses.FIRST keeps it free
LOOPBACK_DNS_PORT = 10053  # a port that needs no root and that no mDNS responder holds


class Mesh:
    """Serves calls by name on `node` of `group`; `open_stream` reaches the other nodes.

    With `root` the kernel sends service addresses to the proxy; without, it listens on their twins in `loopback`, a /16 of
    127.0.0.0/8. `dns` is where DNS is answered ("host:port"; port 0: any that is free; not given, 169.254.96.16:53 as root,
    else x.y.0.53:10053 in `loopback`); `resolvers` are asked for other names (none: those of /etc/resolv.conf). `random`
    also numbers DNS questions: give a SystemRandom where strangers could answer them. With `host_dns` the host's own programs
    resolve our names too; `socks5` is where SOCKS5 is served ("": nowhere). As root pods in the network `pods` are called by
    their addresses (None: none are).
    """

    def __init__(
        self,
        *,
        store: Store,
        node: str,
        group: str = "",
        open_stream: OpenStream,
        root: bool,
        dns: str = "",
        resolvers: Sequence[str] = (),
        loopback: str = LOOPBACK,
        host_dns: HostDns | None = None,
        socks5: str = "",
        pods: IPv4Network | None = None,
        log: Log,
        random: Random,
    ) -> None:
        self._store, self._node, self._group, self._root, self._log = store, node, group, root, log
        self._troubles: set[str] = set()
        self._loopback = None if root else loopback
        self._pods = pods if root else None
        self._host_dns = host_dns
        self._table = build((), (), node, self._loopback)
        self._zone = zone.build(self._table, (), (), ())
        default = Address(kernel.ADDRESS, DNS_PORT) if root else Address(twin(LOOPBACK_DNS, loopback), LOOPBACK_DNS_PORT)
        self.dns = parse_address(dns) if dns else default
        self._forwarder = Forwarder(Resolvers(resolvers, self.dns.host, random))
        clients = Clients()
        self._dns = DnsServer(self.dns, self._names, self._forwarder, clients.allows)
        balancer = Balancer(node, random)
        self._proxy = Proxy(self._current, balancer, open_stream, log)
        self._datagrams = datagrams = Datagrams(self._current, balancer, open_stream, log)
        self._tunnels, self._flows = TunnelServer(self._current, log), FlowServer(self._current, log)
        self.socks = (
            SocksServer(parse_address(socks5), self._current, self._names, self._proxy, clients.allows) if socks5 else None
        )
        self._entrance: Redirected | Twins
        if root:
            self._entrance = Redirected(self._current, self._proxy, datagrams, log)
        else:
            self._entrance = Twins(self._current, self._proxy, datagrams, log)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started` when names resolve and addresses answer for what the store holds now.

        Nobody is told that a name is not there before the store was looked at: clients would remember that.

        UnreachableError when the host does not let it: no ip(8), the DNS port taken. What is in the way of one service, or of
        the rules, is logged and tried again every RETRY_S.
        """
        try:
            if self._root:
                await kernel.set_up(self._pods)
            revision = self._look()
            async with trio.open_nursery() as nursery:
                await nursery.start(self._datagrams.run)
                await nursery.start(self._entrance.run)
                self.dns = await nursery.start(self._dns.run)
                if self._host_dns:
                    await self._tell_host(self._host_dns)
                if self.socks:
                    await nursery.start(self.socks.run)
                await self._follow(revision, task_status)
        finally:
            await self._clean_up()

    async def serve_tunnel(self, peer: str, opening: Tunnel, stream: HalfCloseableStream) -> None:
        """The link handler of `Tunnel` openings."""
        await self._tunnels.serve(peer, opening, stream)

    async def serve_flows(self, peer: str, opening: Flows, stream: HalfCloseableStream) -> None:
        """The link handler of `Flows` openings."""
        await self._flows.serve(peer, opening, stream)

    @property
    def listeners(self) -> dict[tuple[Name, int], tuple[str, int]]:
        """The address and port at which a client on this node reaches each (service, port)."""
        return self._entrance.listeners

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Counters and gauges for metrics, by part."""
        return {
            "dns": {**asdict(self._dns.statistics), **asdict(self._forwarder.statistics), **self._forwarder.gauges},
            "proxy": asdict(self._proxy.statistics),
            "datagrams": asdict(self._datagrams.statistics),
            "tunnel": asdict(self._tunnels.statistics),
            **({"socks": asdict(self.socks.statistics)} if self.socks else {}),
            "flows": asdict(self._flows.statistics),
            "services": {
                "named": len(self._table.entries),
                "addressed": len(self._table.addressed),
                "ports": len(self.listeners),
            },
        }

    def _current(self) -> Table:
        return self._table

    def _names(self) -> Zone:
        return self._zone

    async def _tell_host(self, host_dns: HostDns) -> None:
        try:
            await host_dns.set_up(self.dns)
        except UnreachableError as error:
            self._log.warning(f"programs of this host resolve no names of services: {error}; containers do")

    async def _follow(self, revision: int, task_status: trio.TaskStatus[None]) -> None:
        """Whatever changed, the table is built anew; the entrance is updated when that made a difference, or failed before."""
        in_place = await self._update()
        task_status.started()
        while True:
            with trio.move_on_after(float("inf") if in_place else RETRY_S):
                await self._store.changed(revision)
            if in_place and not self._concerned(revision):
                revision = self._store.revision
                continue
            before = self._table
            revision = self._look()
            if not in_place or self._table != before:
                in_place = await self._update()

    def _look(self) -> int:
        """Read the table from the store; the revision as of which it is."""
        revision = self._store.revision
        services = [typed(each, Service) for each in self._store.list("services")]
        pods = [typed(each, Pod) for each in self._store.list("pods")]
        nodes = [typed(each, Node) for each in self._store.list("nodes")]
        lost = {node.metadata.name for node in nodes if is_lost(node)} - {self._node}
        rules = [typed(each, DestinationRule) for each in self._store.list(RULES)]
        imports = [typed(each, ServiceImport) for each in self._store.list(IMPORTS)]
        by_address = members(self._pods, services, pods, nodes, self._node, lost)
        self._table = build(services, pods, self._node, self._loopback, lost, rules, imports, self._group, by_address)
        self._zone = zone.build(self._table, services, pods, nodes, lost)
        return revision

    def _concerned(self, since: int) -> bool:
        try:
            return any(change.object.key.resource in MATTERS for change in self._store.changes(since))
        except ExpiredError:
            return True

    async def _update(self) -> bool:
        """Bring the entrance in line with the table; whether all of it is."""
        troubles = set(self._table.conflicts)
        in_place = True
        try:
            await self._entrance.update()
        except UnreachableError as error:
            troubles.add(f"{error}; trying again every {RETRY_S:g} s")
            in_place = False
        for trouble in sorted(troubles - self._troubles):
            self._log.warning(trouble)
        self._troubles = troubles
        return in_place

    async def _clean_up(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + REMOVE_S):
            if self._host_dns:
                await self._remove(self._host_dns.clean_up, "the file for systemd-resolved is")
            if self._root:
                await self._remove(kernel.clean_up, "rules or interface of the mesh are")

    async def _remove(self, clean_up: Callable[[], Awaitable[None]], what: str) -> None:
        try:
            await clean_up()
        except UnreachableError as error:
            self._log.error(f"{what} left behind: {error}; the next start takes over")
