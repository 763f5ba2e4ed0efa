"""What a node says of itself: `edged status` and the rooms' figures for `/metrics`, gathered when somebody asks."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from edged import __version__
from edged.api.metrics import Figure
from edged.hub.hub import Hub, LinkStatus
from edged.identity.node import Identity
from edged.mesh.mesh import Mesh
from edged.model.core import Pod
from edged.model.devices import Device
from edged.model.kinds import BY_STRUCT
from edged.model.meta import JSON
from edged.model.objects import typed
from edged.store.store import Store
from edged.sync.clock import Clock
from edged.sync.group import Group

# What a room counts: (name, help, value, labels); names that end in `_total` only grow.
Counted = Callable[[], Iterable[tuple[str, str, float, Mapping[str, str]]]]


class Report:
    """Asks the rooms of one node; `relays` are the URLs that it may use, `others` rooms of which only figures are shown."""

    def __init__(
        self,
        identity: Identity,
        store: Store,
        hub: Hub,
        group: Group,
        mesh: Mesh,
        clock: Clock,
        relays: Sequence[str],
        others: Sequence[Counted],
    ) -> None:
        self._identity, self._store, self._hub, self._clock = identity, store, hub, clock
        self._group, self._mesh, self._relays, self._others = group, mesh, relays, others

    def status(self) -> JSON:
        """What `edged status` shows; pods and devices are counted by state, those of this node only."""
        node, hub = self._identity.name, self._hub.statistics()
        links = {link.node: link for link in hub.links}
        others = {obj.key.name for obj in self._store.list("nodes")} | set(links)
        pods = [typed(obj, Pod) for obj in self._store.list("pods")]
        devices = [typed(obj, Device) for obj in self._store.list(BY_STRUCT[Device].resource)]
        relay = None
        if self._relays:
            relay = {"url": hub.relay or self._relays[0], "connected": hub.relay is not None, "observed": hub.observed}
        return {
            "node": node,
            "group": self._identity.group,
            "observes": list(self._identity.observes),
            "version": __version__,
            "revision": self._store.revision,
            "vector": self._store.held(),
            "holder": self._group.membership.view.holder,
            "members": sorted(self._group.membership.view.members),
            "clock_ahead_s": round(self._clock.ahead, 3),
            "trouble": self._store.trouble,
            "damaged": len(self._store.damaged),
            "relay": relay,
            "port_mapping": hub.port_mapping,
            "peers": [_peer(name, links.get(name)) for name in sorted(others - {node})],
            "pods": Counter(pod.status.phase or "Pending" for pod in pods if pod.spec.node_name == node),
            "devices": Counter(each.status.state or "unknown" for each in devices if each.spec.node_name == node),
        }

    async def netcheck(self) -> JSON:
        """What `edged netcheck` shows: what the network lets this node do, asked now. UnreachableError while it cannot be."""
        found: JSON = msgspec.to_builtins(await self._hub.netcheck())
        return found

    async def ping(self, node: str) -> JSON:
        """What `edged ping` shows of one question to a node. UnreachableError when it does not answer."""
        return _peer(node, await self._hub.ping(node))

    def figures(self) -> Iterator[Figure]:
        """What the rooms count, for `/metrics`."""
        hub = self._hub.statistics()
        yield Figure("edged_relay_connected", "Whether a relay takes this node.", hub.relay is not None)
        yield Figure("edged_store_refused", "Whether the disk refused the last write.", bool(self._store.trouble))
        yield Figure("edged_store_damaged", "Registers that the disk did not keep, not yet repaired.", len(self._store.damaged))
        yield Figure("edged_store_opaque", "Registers of a newer edged, held and not shown.", self._store.opaque_count)
        for link in hub.links:
            labels = {"peer": link.node, "path": link.path}
            yield Figure("edged_link_rtt_seconds", "Round trip of a link.", link.rtt or 0.0, labels)
            yield Figure("edged_link_sent_bytes_total", "Bytes sent on a link.", link.bytes_sent, labels, counter=True)
            yield Figure("edged_link_received_bytes_total", "Bytes taken on a link.", link.bytes_received, labels, counter=True)
        for reason, count in hub.dropped.items():
            yield Figure("edged_hub_dropped_total", "Datagrams that were for nobody.", count, {"reason": reason}, counter=True)
        yield Figure(
            "edged_sync_refused_total", "Dialogues ended by words not taken.", self._group.replicator.refused, counter=True
        )
        denied = self._group.replicator.denied_registers
        yield Figure("edged_sync_denied_total", "Registers that their writer may not write.", denied, counter=True)
        yield Figure("edged_group_members", "Nodes whose lease is alive.", len(self._group.membership.view.members))
        yield Figure("edged_group_leads", "Whether this node holds the group's lease.", self._group.membership.leads)
        yield Figure("edged_clock_ahead_seconds", "This clock ahead of the median of the others'.", self._clock.ahead)
        for counted in self._others:
            for name, help_, value, tags in counted():
                yield Figure(name, help_, value, dict(tags), counter=name.endswith("_total"))
        for part, counts in self._mesh.statistics().items():
            for name, count in counts.items():
                yield Figure(f"edged_mesh_{part}_{name}", f"The mesh: {part}, {name}.", count)


def _peer(name: str, link: LinkStatus | None) -> JSON:
    if link is None:
        return {"node": name, "path": None, "rtt_ms": None, "address": None}
    return {
        "node": name,
        "path": link.path,
        "rtt_ms": None if link.rtt is None else link.rtt * 1000,
        "address": link.address,
        "sent": link.sent_by,
        "received": link.received_by,
    }
