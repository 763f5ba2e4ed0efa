"""Many ports at once: the way to a node whose NAT draws a new port for each flow (a hard NAT), from one whose NAT does not.

The hard side opens SOCKETS sockets and lets each send to the other's address: so many ports of its NAT lead in from there. The
other side pings port after port of that NAT until one leads in. After n pings that has happened with a probability of
1 - (1 - SOCKETS / 64512) ** n: 63 % after 250, 98 % after 1,000.

What the sockets send dies before the other's NAT in the first search: one that tracks what comes unasked gives the pings that
run into it another port, and after them all the rest. In the second one it does not die: the hard NAT may be far away.
"""

import math
from collections.abc import Iterable

from edged.hub.ways import DIRECT, From, Spot, kind_of
from edged.kit.address import Address

SOCKETS = 256
SEARCH_S = 20.0  # then both give up
PORTS_PER_S = 100  # pings: 8 kB/s, and a host that a peer lied about gets 2,000 of them
AGAIN_S = 300.0  # in this time a link has no more than two searches
AGREE_S = 2.0  # two sockets may be found at once, and the dialler's choice is the other: they are closed so much later
FIRST_PORT = 1024  # NATs draw none below
PORTS = 65536 - FIRST_PORT
STEP = 40009  # a prime that does not divide PORTS: all ports come, neighbours far apart


def hard_host(addresses: Iterable[Address]) -> str | None:
    """The public host that shows several ports for one socket: a hard NAT, as the addresses say that a node told of itself."""
    ports: dict[str, set[int]] = {}
    for address in addresses:
        if kind_of(address) == DIRECT:
            ports.setdefault(address.host, set()).add(address.port)
    return next((host for host, known in ports.items() if len(known) > 1), None)


class PortSearch:
    """The other side's: which addresses of a host to ping, and when. `start` is any number."""

    def __init__(self, host: str, start: int, now: float) -> None:
        self._host, self._number, self._next = host, start, now
        self._ends = now + SEARCH_S

    def over(self, now: float) -> bool:
        """Whether to give up."""
        return now >= self._ends

    def deadline(self) -> float:
        """When the next is due."""
        return min(self._next, self._ends)

    def due(self, now: float) -> list[Address]:
        """Whom to ping now."""
        addresses = []
        while self._next <= now and self._next < self._ends:
            addresses.append(Address(self._host, FIRST_PORT + self._number * STEP % PORTS))
            self._number += 1
            self._next += 1 / PORTS_PER_S
        return addresses


class Searches:
    """The searches of one link, as the side that has sockets or the one that pings.

    `hard`: our own NAT is. `host` is the peer's NAT, if that is; `search` the one that is going on here, as who pings.
    """

    def __init__(self) -> None:
        self.hard = False
        self.host: str | None = None
        self.search: PortSearch | None = None
        self._begun = (-math.inf, -math.inf)
        self._count = 0
        self._sockets: frozenset[int] = frozenset()
        self._until = -math.inf

    def takes_on(self, now: float) -> bool:
        """Whether we are to open sockets now, as far as the NATs and earlier searches say; counted as a search if so."""
        begins = self.hard and self.host is None and self._may(now)
        if begins:
            self._begin(now)
        return begins

    def opened(self, sockets: Iterable[int], now: float) -> bool:
        """These sockets were opened. Whether what they send is to die on the way."""
        self._sockets, self._until = frozenset(sockets), now + SEARCH_S
        return self._count % 2 == 1

    def ports(self, now: float) -> int:
        """How many ports of our NAT lead in."""
        return len(self._sockets) if now < self._until else 0

    def called(self, ports: int, start: int, now: float) -> None:
        """The peer has so many ports for us to find."""
        if ports and self.host is not None and not self.hard and self._may(now):
            self._begin(now)
            self.search = PortSearch(self.host, start, now)

    def found(self, now: float) -> None:
        """There is a direct path."""
        self._until = min(self._until, now + AGREE_S)
        self.search = None

    def needed(self, used: Spot | None, now: float) -> frozenset[int]:
        """The sockets that must stay open, when `used` is where the path leads."""
        if now < self._until:
            return self._sockets
        return self._sockets & {used.socket} if isinstance(used, From) else frozenset()

    def deadline(self, now: float) -> float:
        """When something is due."""
        until = self._until if now < self._until else math.inf
        return until if self.search is None else min(until, self.search.deadline())

    def due(self, now: float) -> list[Address]:
        """Whom to ping now."""
        if self.search is None or self.search.over(now):
            self.search = None
            return []
        return self.search.due(now)

    def _may(self, now: float) -> bool:
        before, last = self._begun
        return now >= last + SEARCH_S and now >= before + AGAIN_S

    def _begin(self, now: float) -> None:
        self._begun = (self._begun[1], now)
        self._count += 1
