"""Tells the hub to which nodes of the group it shall keep links, as nodes come and go. A shell around topology.py."""

from typing import Protocol

import trio

from edged.model.core import Node
from edged.model.kinds import BY_STRUCT
from edged.store.store import Store
from edged.sync.membership import Membership
from edged.sync.topology import neighbours


class Links(Protocol):
    """The hub, as far as it matters here."""

    @property
    def known(self) -> frozenset[str]:
        """The nodes that could be linked."""

    def want(self, nodes: frozenset[str] | None) -> None:
        """Keep links to these."""

    async def known_changed(self, before: frozenset[str]) -> frozenset[str]:
        """Wait until other nodes are known."""


class Neighbourhood:
    """Chooses among the nodes that the hub knows, those that are alive, and those that have a Node object.

    Whoever was not heard of `lease` seconds after the start is missed, and so is from then on who is not alive.
    """

    def __init__(self, store: Store, membership: Membership, links: Links, lease: float) -> None:
        self._store, self._membership, self._links, self._lease = store, membership, links, lease
        self._misses = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        self._choose()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_members)
            nursery.start_soon(self._miss)
            task_status.started()
            known = self._links.known
            while True:
                known = await self._links.known_changed(known)
                self._choose()

    def _choose(self) -> None:
        membership = self._membership
        registered = {obj.key.name for obj in self._store.list(BY_STRUCT[Node].resource)}
        known, members = self._links.known | registered, membership.view.members
        missed = known - members if self._misses else frozenset[str]()
        self._links.want(neighbours(membership.node, known, members, membership.limited, missed))

    async def _miss(self) -> None:
        """By then the neighbours have told of all whom they see: a group that starts is not linked fully for a moment."""
        await trio.sleep(self._lease)
        self._misses = True
        self._choose()

    async def _watch_members(self) -> None:
        view = self._membership.view
        while True:
            before, view = view, await self._membership.changed(view)
            if view.members != before.members:
                self._choose()
