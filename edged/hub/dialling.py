"""Dials the peers to which a link is wanted and missing, each when it is our turn, and those that a caller waits for."""

import math
from collections.abc import Callable, Sequence
from random import Random

import trio

from edged.errors import UnreachableError
from edged.hub.book import Book
from edged.hub.connection import Connection, Owner
from edged.hub.dialogue import Dialler
from edged.hub.link import Link
from edged.hub.names import own_name, parted
from edged.hub.pairing import patience
from edged.hub.path import Path
from edged.hub.peer import Peer
from edged.hub.switch import Switch
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address, parse_address
from edged.kit.backoff import Backoff
from edged.kit.log import Log

FIRST_S, CAP_S = 0.5, 30.0  # between dials of a peer
STEADY_S = 10.0  # a link that lived for so long begins the back-off anew
RESOLVE_S = 5.0  # for the names among configured addresses
STALE_S = 2.0  # a dial unanswered for so long repeats itself too seldom to be what reaches a node that has just come
DIAL_ANEW = "the node has come: dialling anew"
WIDE_S = 3.0  # a dial that proved nothing by then may run into a way too narrow for the server's part of the handshake
DIAL_NARROW = "no answer: dialling anew with small datagrams"


class Dialling:
    """Dials from `switch` for `owner`; `path` makes the path of a link to a peer."""

    def __init__(
        self,
        *,
        identity: Identity,
        verifier: Verifier,
        switch: Switch,
        owner: Owner,
        book: Book,
        path: Callable[[Peer], Path],
        ipv6: bool,
        log: Log,
        random: Random,
        wall: Callable[[], float],
    ) -> None:
        self._identity, self._verifier, self._switch, self._owner = identity, verifier, switch, owner
        self._book, self._path, self._ipv6 = book, path, ipv6
        self._log, self._random, self._wall = log, random, wall

    async def keep_linked(self, peer: Peer) -> None:
        """Dial the peer whenever a link is missing and it is our turn, until it is forgotten. Nothing ticks without need."""
        with peer.keeping:
            await self._keep_linked(peer)

    async def _keep_linked(self, peer: Peer) -> None:
        backoff = Backoff(FIRST_S, CAP_S, self._random)
        warned = ""
        peer.resolved = await self._resolved(peer.configured)  # for the path of a link that the peer dials, too
        while True:
            await self._our_turn(peer)
            peer.resolved = await self._resolved(peer.configured)
            if peer.connection is not None:
                continue
            connection = await self._dialled(peer)
            proved = connection.probes is not None
            if proved and trio.current_time() - connection.began >= STEADY_S:
                backoff.reset()
            if connection.reason == DIAL_ANEW or (proved and (peer.callers or not peer.wanted)):
                continue
            wait = backoff.next()
            if not proved and peer.connection is None:
                peer.failure, peer.rested = connection.reason, trio.current_time() + wait
                peer.change()
                if connection.reason != warned:
                    warned = connection.reason
                    self._log.warning(f"no link to {peer.name}: {warned}; retrying")
            with trio.move_on_after(wait):
                await peer.changed.wait()

    async def linked(self, peer: Peer) -> Connection:
        """The link to the peer, dialled now when there is none. UnreachableError when it cannot be; the caller bounds the wait.

        All callers share one dial; one that has just failed is not tried for each of them.
        """
        if peer.connection is not None:
            return peer.connection
        if not self._reachable(peer):
            raise UnreachableError(f"no link to node {peer.name}, and no way to it is known")
        if peer.failure and (peer.wanted or trio.current_time() < peer.rested):
            raise UnreachableError(f"no link to node {peer.name}: {peer.failure}")
        peer.failure = ""
        peer.callers += 1
        peer.change()
        try:
            while peer.connection is None:
                if peer.failure:
                    raise UnreachableError(f"no link to node {peer.name}: {peer.failure}")
                await peer.changed.wait()
        finally:
            peer.callers -= 1
            peer.change()
        return peer.connection

    def dial(self, peer: Peer, *, narrow: bool = False) -> tuple[Connection, Dialler]:
        """Begin a link to the peer, every way that is known at once; a `narrow` one is for ways that carry little at a time."""
        dialler = Dialler(peer.name, identity=self._identity, verifier=self._verifier, wall=self._wall)
        link = Link.dial(self._identity, dialler, parted(peer.name)[1], trio.current_time(), narrow=narrow)
        connection = Connection(link, self._path(peer), ports=self._switch, owner=self._owner, node=peer.name)
        self._switch.add(connection, link.connection_id)
        connection.flush()
        return connection, dialler

    def heard(self, peer: Peer, address: Address) -> None:
        """The peer is there now, at this address as it seems: the next dial is due, and those under way may use it."""
        now = trio.current_time()
        for connection in self._switch.to(peer.name):
            silent = connection.link.dialled and connection.link.peer is None and connection.path.answered is None
            if silent and now - connection.began >= STALE_S:
                connection.close(DIAL_ANEW)
            else:
                connection.path.learn((address,), now)
                connection.flush()
        peer.change()

    async def _dialled(self, peer: Peer) -> Connection:
        """A link that was dialled, and is over."""
        connection, dialler = self.dial(peer)
        with trio.move_on_after(WIDE_S):
            await connection.over.wait()
        if connection.probes is None and not connection.over.is_set():
            connection.close(DIAL_NARROW)
            connection, dialler = self.dial(peer, narrow=True)
        await connection.over.wait()
        answered = connection.path.answered
        if not dialler.met and isinstance(answered, tuple):
            self._book.blame(peer.name, answered)
        return connection

    async def _our_turn(self, peer: Peer) -> None:
        """Wait until there is no link to the peer and we are to dial it."""
        while True:
            changed, wait = peer.changed, None
            if peer.connection is None and (peer.wanted or peer.callers):
                own = own_name(self._identity, peer.name)
                wait = patience(own, peer.name, reachable=self._reachable(peer), asked=peer.callers > 0)
            with trio.move_on_after(math.inf if wait is None else wait):
                await changed.wait()
                continue
            return

    def _reachable(self, peer: Peer) -> bool:
        return peer.session is not None or bool(peer.configured) or bool(self._book.addresses(peer.name))

    async def _resolved(self, configured: Sequence[str]) -> list[Address]:
        """The configured addresses as IP addresses; names that do not resolve now are left out until the next try."""
        found: dict[Address, None] = {}
        for text in configured:
            address = parse_address(text)
            if address.ip is not None:
                found[address] = None
                continue
            with trio.move_on_after(RESOLVE_S):
                try:
                    answers = await trio.socket.getaddrinfo(*address, type=trio.socket.SOCK_DGRAM)
                except OSError as error:
                    self._log.debug(f"{text}: {error}")
                else:
                    found.update((Address(str(answer[4][0]), address.port), None) for answer in answers)
        return [address for address in found if self._ipv6 or ":" not in address.host]
