"""Who of the group is alive, and who holds its lease. No I/O: pulses and `now` in, pulses out.

    receive(pulse, now)   a node's pulse came, signed by it
    tick(now)             time passed: leases ran out, the group's lease is to be taken or given up
    beat(now, seal)       make our next pulse, when it is time for one
    pulses                the latest of everybody who is alive, to tell whoever has not heard them
    deadline()            when to call tick and beat

A node is alive for `lease` seconds after its latest pulse. The group's lease is held by whoever says so in its pulse
(`claim`, the clock at which it took it); of two who do, the earlier stays and the other gives up as soon as it hears. When
nobody holds it, the node that has run longest takes it at once, the next one a lease later if that one does not, and so on.
Two sides of a split hold one lease each. `now` is monotonic, in seconds.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from edged.wire.sync import MAX_LINKED, Pulse

LEASE_S = 10.0
RENEWALS = 3.3  # pulses in a lease: two may be lost
SOON = 0.03  # of a lease: links that come and go together are told together
SHORTEST_S, LONGEST_S = 1.0, 120.0  # leases that are believed
MAX_MEMBERS = 1024  # nodes remembered; the one that is silent longest is forgotten for a new one
DEAD_KEPT_S = 3600.0  # a node that is gone is remembered, so that an old pulse of it is known to be old


@dataclass(slots=True)
class _Life:
    pulse: Pulse
    until: float
    limited: bool


class Leases:
    """`boot` (a hybrid logical clock, greater at each start) names this run of `node`; `stamp()` gives such a clock.

    `lease` is how long the others shall believe a pulse of ours. A `limited` node takes no group lease.
    """

    def __init__(
        self,
        node: str,
        boot: int,
        *,
        lease: float,
        limited: bool,
        stamp: Callable[[], int],
        wall: Callable[[], float],
        now: float,
    ) -> None:
        self.node, self._boot, self._lease, self._limited = node, boot, lease, limited
        self._stamp, self._wall = stamp, wall
        self._lives: dict[str, _Life] = {}
        self._members = frozenset({node})
        self._number = 0
        self._own: Pulse | None = None
        self._claim = 0
        self._left = False
        self._beat_at = now
        self._ticked = now
        self._vacant = now  # since when nobody holds the group's lease, as far as we know
        self._may_claim = now + lease  # by then we have heard of whoever holds it

    # ---- what is known

    @property
    def members(self) -> frozenset[str]:
        """The nodes that were alive at the last tick, this one included."""
        return self._members

    @property
    def limited(self) -> frozenset[str]:
        """The limited nodes among those that were heard of."""
        own = {self.node} if self._limited else set()
        return frozenset(name for name, life in self._lives.items() if life.limited) | own

    @property
    def holder(self) -> str | None:
        """Who holds the group's lease; None when nobody does."""
        claims = [
            (life.pulse.claim, name) for name, life in self._lives.items() if life.pulse.claim and life.until > self._ticked
        ]
        if self._claim:
            claims.append((self._claim, self.node))
        return min(claims)[1] if claims else None

    @property
    def pulses(self) -> list[Pulse]:
        """The latest pulse of every node that is alive, ours first."""
        own = [] if self._own is None else [self._own]
        return own + [life.pulse for life in self._lives.values() if life.until > self._ticked]

    # ---- what happens

    def is_news(self, pulse: Pulse) -> bool:
        """Whether a pulse says anything that is not known, and can be believed."""
        if pulse.node == self.node or not SHORTEST_S <= pulse.lease <= LONGEST_S:
            return False
        life = self._lives.get(pulse.node)
        return life is None or (pulse.boot, pulse.number) > (life.pulse.boot, life.pulse.number)

    def receive(self, pulse: Pulse, *, limited: bool, now: float) -> bool:
        """A pulse whose signature was checked came; whether it is news."""
        if not self.is_news(pulse):
            return False
        if pulse.node not in self._lives and len(self._lives) >= MAX_MEMBERS:
            del self._lives[min(self._lives, key=lambda name: self._lives[name].until)]
        self._lives[pulse.node] = _Life(pulse, now + pulse.lease, limited)
        self.tick(now)
        return True

    def informed(self, now: float) -> bool:
        """A peer has told all that it knows: whoever holds the group's lease, as far as it knows, we know too.

        Whether that is news, so that we may take the lease sooner.
        """
        news, self._may_claim = self._may_claim > now, min(self._may_claim, now)
        return news

    def tick(self, now: float) -> None:
        """Time passed."""
        slept, self._ticked = now - self._ticked > self._lease, now
        self._members = frozenset(name for name, life in self._lives.items() if life.until > now) | {self.node}
        if slept and self._claim:  # we were stopped for so long that another has taken it
            self._give_up(now)
            self._may_claim = now + self._lease
        holder = self.holder
        if holder is not None and holder != self.node and self._claim:
            self._give_up(now)
        if holder is not None:
            self._vacant = math.inf
        elif self._vacant == math.inf:
            self._vacant = now
        if holder is None and now >= self._turn():
            self._claim = self._stamp()
            self._beat_at = now
        self._lives = {name: life for name, life in self._lives.items() if life.until > now - DEAD_KEPT_S}

    def links_of(self, node: str) -> frozenset[str]:
        """The nodes that are alive with which `node` says that it replicates."""
        life = self._lives.get(node)
        return frozenset() if life is None else frozenset(life.pulse.linked) & self.members

    def beat(self, now: float, seal: Callable[[bytes], bytes], linked: Collection[str] = ()) -> bool:
        """Make our next pulse when it is time for one; `seal` signs it, `linked` are our neighbours. Whether there is one."""
        if now < self._beat_at:
            return False
        self._beat_at = now + self._lease / RENEWALS
        self._number += 1
        pulse = Pulse(self.node, self._boot, self._number, self._wall(), self._lease, self._claim, self._left)
        pulse = msgspec.structs.replace(pulse, linked=sorted(linked)[:MAX_LINKED])
        self._own = msgspec.structs.replace(pulse, signature=seal(pulse.signed_bytes()))
        return True

    def relinked(self, now: float) -> None:
        """Our neighbours are others: the next pulse, which says so, is due soon."""
        self._beat_at = min(self._beat_at, now + SOON * self._lease)

    def leave(self, now: float) -> None:
        """We are stopping: the next pulse says so, and claims nothing any more."""
        self._left, self._claim, self._beat_at = True, 0, now

    def deadline(self) -> float:
        """When to call tick, at the latest: a pulse is due, a lease runs out, or the group's may be taken."""
        alive = [life.until for life in self._lives.values() if life.until > self._ticked]
        turn = self._turn() if self.holder is None else math.inf
        return min([self._beat_at, *alive, max(turn, self._ticked)])

    # ---- within

    def _give_up(self, now: float) -> None:
        self._claim, self._beat_at = 0, now

    def _turn(self) -> float:
        """When it is our turn to take the group's lease, if nobody holds it until then."""
        if self._limited or self._left:
            return math.inf
        alive = [
            (life.pulse.boot, name)
            for name, life in self._lives.items()
            if life.until > self._ticked and not life.limited and not life.pulse.leaves
        ]
        before = sum(candidate < (self._boot, self.node) for candidate in alive)
        return max(self._may_claim, self._vacant) + before * self._lease
