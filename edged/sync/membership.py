"""Who is there: the shell of leases. Pulses come in from the peers, go out to them, and time passes."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

import trio

from edged.errors import DeniedError, ProtocolError
from edged.identity.certificates import Subject
from edged.kit.log import Log
from edged.kit.ring import FULL
from edged.sync.clock import Clock
from edged.sync.leases import Leases
from edged.wire.sync import Pulse

GATHER = 0.03  # of a lease: pulses that come within this time are passed on together; five steps are half a pulse's time
# In a small group, where all hear each other, what is passed on is for links that are cut: it goes with our own next pulse.

Changed = Callable[[frozenset[str]], Awaitable[frozenset[str]]]


class View(NamedTuple):
    """What this node sees: the peers with a live link, the nodes whose lease is alive (itself too), who holds the group's.

    `behind`: a peer that was linked a moment ago holds what has not come here yet. Who leads decides nothing until it has:
    it would make again, and elsewhere, what is there already.
    """

    linked: frozenset[str]
    members: frozenset[str]
    holder: str | None
    behind: bool = False


class Membership:
    """`linked` and `changed` come from the hub: `changed(before)` waits until the set is another one.

    `seal` signs a pulse, `verify` says who signed one. A pulse of a node whose clock is too far ahead is not taken.
    """

    def __init__(
        self,
        leases: Leases,
        group: str,
        linked: Callable[[], frozenset[str]],
        changed: Changed,
        *,
        clock: Clock,
        seal: Callable[[bytes], bytes],
        verify: Callable[[bytes, bytes], Subject],
        lease: float,
        random: Random,
        log: Log,
    ) -> None:
        self.node = leases.node
        self._leases, self._group, self._linked, self._links_changed = leases, group, linked, changed
        self._clock, self._seal, self._verify = clock, seal, verify
        self._lease, self._random, self._log = lease, random, log
        self._listeners: set[Callable[[], None]] = set()
        self._catching_up = 0
        self._moved = trio.lowlevel.ParkingLot()
        self._soon = trio.CancelScope()
        self._flush_at = float("inf")
        self._view = View(frozenset(), frozenset({self.node}), None)

    @property
    def view(self) -> View:
        """What this node sees now."""
        return self._view

    @property
    def leads(self) -> bool:
        """Whether this node holds the group's lease: it runs the controllers and the scheduler."""
        return self._view.holder == self.node

    @property
    def limited(self) -> frozenset[str]:
        """The nodes that write for themselves alone."""
        return self._leases.limited

    def links_of(self, node: str) -> frozenset[str]:
        """The nodes alive with which another one says that it replicates: what they write it has from them."""
        return self._leases.links_of(node)

    async def changed(self, before: View) -> View:
        """Wait until the view is no longer `before`; returns it."""
        if self._view != before:
            await trio.lowlevel.checkpoint()
        while self._view == before:
            await self._moved.park()
        return self._view

    @property
    def pulses(self) -> list[Pulse]:
        """The latest pulses of all that are alive."""
        return self._leases.pulses

    @contextmanager
    def listening(self, tell: Callable[[], None]) -> Iterator[None]:
        """Inside, `tell` is called whenever there are pulses that peers may not know."""
        self._listeners.add(tell)
        try:
            yield
        finally:
            self._listeners.discard(tell)

    @contextmanager
    def catching_up(self) -> Iterator[None]:
        """Inside, a peer is known to hold more than this node, or may."""
        self._catching_up += 1
        self._look()
        try:
            yield
        finally:
            self._catching_up -= 1
            self._look()

    def receive(self, pulses: Iterable[Pulse], sender: str) -> None:
        """Pulses came from a peer. ProtocolError when one is not by its node, DeniedError for a peer whose clock is wrong."""
        now = trio.current_time()
        for pulse in pulses:
            if pulse.node == self.node:
                continue
            try:
                subject = self._verify(pulse.signature, pulse.signed_bytes())
            except DeniedError as error:
                raise ProtocolError(f"a pulse of {pulse.node}: {error}") from error
            if (subject.name, subject.group) != (pulse.node, self._group):
                raise ProtocolError(f"a pulse of {pulse.node} by {subject.uri}")
            if not self._leases.is_news(pulse):
                continue
            why = self._clock.hear(pulse.node, pulse.wall)
            if why and pulse.node == sender:
                raise DeniedError(why)
            if not why:
                self._leases.receive(pulse, limited=subject.limited, now=now)
                urgent = (
                    pulse.leaves
                    or pulse.node not in self._view.members
                    or (pulse.node == self._view.holder) != bool(pulse.claim)
                )
                if urgent:
                    self._flush(now)
                    self._look()
                elif len(self._view.members) > FULL:
                    self._flush(now + self._lease * GATHER * (1 - self._random.random() / 2))

    def informed(self) -> None:
        """A peer has told all the pulses that it knows, or there is nobody who could."""
        if self._leases.informed(trio.current_time()):
            self._soon.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep this node's lease, and watch the others', until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_links)
            self._turn()
            task_status.started()
            while True:
                with trio.CancelScope(deadline=min(self._leases.deadline(), self._flush_at)) as self._soon:
                    await trio.sleep_forever()
                self._turn()

    def leave(self) -> None:
        """This node stops: the peers are told, and another takes the group's lease at once if this one held it."""
        self._leases.leave(trio.current_time())
        self._turn()

    def _turn(self) -> None:
        now = trio.current_time()
        self._leases.tick(now)
        if self._leases.beat(now, self._seal, self._linked()) or now >= self._flush_at:
            self._flush_at = float("inf")
            for tell in self._listeners:
                tell()
        self._look()

    def _flush(self, at: float) -> None:
        if at < self._flush_at:
            self._flush_at = at
            self._soon.cancel()

    async def _watch_links(self) -> None:
        while True:
            linked = self._linked()
            self._leases.relinked(trio.current_time())
            self._soon.cancel()
            self._look()
            await self._links_changed(linked)

    def _look(self) -> None:
        """See who is there now, and tell who waits for a change."""
        before, self._view = self._view, View(self._linked(), self._leases.members, self._leases.holder, self._catching_up > 0)
        if self._view == before:
            return
        if self._view.holder != before.holder:
            self._log.info(f"the group's lease: {self._view.holder or 'nobody'} holds it")
        self._moved.unpark_all()
