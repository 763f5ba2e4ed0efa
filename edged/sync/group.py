"""The room's door: this node in its group. Wires leases, membership, replication and upkeep over one store and the links."""

from random import Random
from typing import Protocol

import trio

from edged.identity.keyring import Keyring
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.model.core import Node
from edged.model.kinds import BY_STRUCT
from edged.store.events import Recorder
from edged.store.store import Store
from edged.sync.abroad import Abroad
from edged.sync.clock import Clock
from edged.sync.judge import Judge
from edged.sync.leases import LEASE_S, Leases
from edged.sync.membership import Membership
from edged.sync.neighbourhood import Links as KnownLinks
from edged.sync.neighbourhood import Neighbourhood
from edged.sync.replicator import Replicator
from edged.sync.upkeep import Upkeep
from edged.wire.peer import Sync

RETRY_FIRST_S, RETRY_CAP_S = 0.5, 30.0


class Self(Protocol):
    """Who this node is: `identity.node.Identity`."""

    name: str
    group: str
    limited: bool

    def seal(self, data: bytes) -> bytes:
        """Sign what is replicated."""


class Links(KnownLinks, Protocol):
    """The links to other nodes: `hub.hub.Hub`."""

    @property
    def neighbours(self) -> frozenset[str]:
        """The nodes to which there is a link that one of both ends wants."""

    async def neighbours_changed(self, before: frozenset[str]) -> frozenset[str]:
        """Wait until these are others."""

    async def open_stream(self, node: str, opening: Sync) -> trio.abc.HalfCloseableStream:
        """A stream to a node, once it has agreed."""

    def drop(self, node: str, reason: str) -> None:
        """End the link to a node."""


class Group:
    """`membership` says who is there and who leads, `replicator` serves the peers' `Sync` streams.

    `keys` know the certificates that the store kept, `abroad` the other groups, if there are any. `lease` is in seconds: for
    how long the others take this node for alive after a pulse.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        identity: Self,
        keys: Keyring,
        links: Links,
        *,
        lease: float = LEASE_S,
        random: Random,
        log: Log,
        abroad: Abroad | None = None,
    ) -> None:
        self._store, self._links, self._identity = store, links, identity
        leases = Leases(
            *(identity.name, clock.stamp()),
            lease=lease,
            limited=identity.limited,
            stamp=clock.stamp,
            wall=clock.wall,
            now=trio.current_time(),
        )
        self.membership = Membership(
            *(leases, identity.group, lambda: links.neighbours, links.neighbours_changed),
            clock=clock,
            seal=identity.seal,
            verify=keys.verify,
            lease=lease,
            random=random,
            log=log,
        )
        self.replicator = Replicator(
            *(store, clock, self.membership, links.open_stream),
            group=identity.group,
            keys=keys,
            judge=Judge(keys, clock, store.standing),
            drop=links.drop,
            recorder=Recorder(store, "edged-sync", identity.name, clock.wall, log),
            backoff=lambda: Backoff(RETRY_FIRST_S, RETRY_CAP_S, random),
            random=random,
            log=log,
            abroad=abroad,
        )
        self._neighbourhood = Neighbourhood(store, self.membership, links, lease)
        self._upkeep = Upkeep(store, clock, log)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a member of the group until cancelled; started when all parts run."""
        alone = all(obj.key.name == self._identity.name for obj in self._store.list(BY_STRUCT[Node].resource))
        if alone and not self._links.known:
            self.membership.informed()  # there is nobody who could hold the group's lease
        async with trio.open_nursery() as nursery:
            for part in (self.membership, self._neighbourhood, self.replicator, self._upkeep):
                await nursery.start(part.run)
            task_status.started()

    async def leave(self) -> None:
        """A planned stop, before `run` is cancelled: the peers hear of it, and what is volatile is written."""
        self.membership.leave()
        await self.replicator.farewell()
        await self._upkeep.stop()
