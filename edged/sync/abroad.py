"""Replication beyond the group: with whom of other groups, and about what. A shell around the links to them.

The fleet's objects go everywhere; a group's to its own nodes, and to those whose certificates say that they may hold it.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from edged.hub.names import abroad, called
from edged.identity.certificates import Subject
from edged.wire.sync import FLEET


class Links(Protocol):
    """The hub, as far as it matters here. Nodes of other groups are called GROUP/NAME."""

    @property
    def abroad(self) -> frozenset[str]:
        """The linked nodes of other groups."""

    async def abroad_changed(self, before: frozenset[str]) -> frozenset[str]:
        """Wait until these are others."""

    def subject(self, node: str) -> Subject | None:
        """Whom the certificate of a linked node names."""


class Common:
    """The scopes that two nodes share, as their certificates have it."""

    def __init__(self, one: Subject, other: Subject) -> None:
        self._one, self._other = one, other

    def __contains__(self, scope: object) -> bool:
        return isinstance(scope, str) and (scope == FLEET or (self._one.may_hold(scope) and self._other.may_hold(scope)))


class Abroad:
    """The other groups, as node `me` reaches them."""

    def __init__(self, me: Subject, links: Links) -> None:
        self._me, self._links = me, links

    def subject(self, peer: str) -> Subject | None:
        """Whom the certificate of a linked peer names, of whichever group."""
        return self._links.subject(peer)

    def common(self, other: Subject) -> Common:
        """What this node and another one replicate."""
        return Common(self._me, other)

    async def run(self, keep: Callable[[str], Awaitable[None]]) -> None:
        """Call `keep` for each linked node of another group of a higher name, until it is one no more; until cancelled."""
        kept: dict[str, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            while True:
                there = self._links.abroad
                for peer in kept.keys() - there:
                    kept.pop(peer).cancel()
                for peer in there - kept.keys():
                    if self._opens(peer):
                        kept[peer] = trio.CancelScope()
                        nursery.start_soon(_within, kept[peer], keep, peer)
                await self._links.abroad_changed(there)

    def _opens(self, peer: str) -> bool:
        return abroad(peer) and called(self._me.group, self._me.name) < peer


async def _within(scope: trio.CancelScope, keep: Callable[[str], Awaitable[None]], peer: str) -> None:
    with scope:
        await keep(peer)
