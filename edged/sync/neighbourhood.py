"""Tells the hub to which nodes of the group it shall keep links, as nodes come and go. A shell around topology.py."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from edged.model.core import Node
from edged.model.kinds import BY_STRUCT
from edged.store.store import Store
from edged.sync.membership import Membership, View
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
    """Chooses among the nodes that the hub knows, those that are alive, and those that have a Node object."""

    def __init__(self, store: Store, membership: Membership, links: Links) -> None:
        self._store, self._membership, self._links = store, membership, links

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        self._choose()
        task_status.started()
        while True:
            view, known = self._membership.view, self._links.known
            self._choose()
            await self._other(view, known)

    def _choose(self) -> None:
        membership = self._membership
        registered = {obj.key.name for obj in self._store.list(BY_STRUCT[Node].resource)}
        known = self._links.known | registered
        self._links.want(neighbours(membership.node, known, membership.view.members, membership.limited))

    async def _other(self, view: View, known: frozenset[str]) -> None:
        """Wait until other nodes are there, or known."""
        async with trio.open_nursery() as nursery:

            async def first(change: Callable[[], Awaitable[object]]) -> None:
                await change()
                nursery.cancel_scope.cancel()

            nursery.start_soon(first, lambda: self._links.known_changed(known))
            nursery.start_soon(first, lambda: self._members_changed(view))

    async def _members_changed(self, view: View) -> None:
        while self._membership.view.members == view.members:
            await self._membership.changed(self._membership.view)
