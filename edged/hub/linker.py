"""Keeps one proved link to each known node of the group: dials, answers, and decides which link stays."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import trio

from edged.errors import DeniedError, UnreachableError
from edged.hub.candidates import candidates
from edged.hub.connection import Connection
from edged.hub.dialogue import Dialler, Doorkeeper
from edged.hub.interfaces import own_addresses
from edged.hub.link import Link
from edged.hub.pairing import patience, replaces
from edged.hub.path import Path
from edged.hub.relaylink import RelayLink
from edged.hub.relayspeech import Told
from edged.hub.stream import LinkStream
from edged.hub.switch import Switch
from edged.hub.udp import UdpSocket
from edged.identity.certificates import NAME, Subject
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address, parse_address
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.wire.peer import MAX_CANDIDATES, Candidates
from edged.wire.relay import Absence, Deliver, Presence

DIAL_FIRST_S, DIAL_CAP_S = 0.5, 30.0
STEADY_S = 10.0  # a link that lived for so long begins the back-off anew
RESOLVE_S = 5.0  # for the names among configured addresses
ADDRESSES_S = 20.0  # between looks at our own addresses
MAX_PEERS = 1024  # known nodes; a relay that announces more is not believed


@dataclass(slots=True, eq=False)
class Peer:
    """A node that we know of: configured, announced by the relay (`session`), or because it linked itself."""

    name: str
    configured: Sequence[str]
    session: int | None = None
    addresses: list[Address] = field(default_factory=list)
    connection: Connection | None = None
    since: float = 0.0
    changed: trio.Event = field(default_factory=trio.Event)

    def change(self) -> None:
        """Wake whoever waits for this peer."""
        self.changed.set()
        self.changed = trio.Event()


class Linker:
    """`opened` gets each stream that a peer opens, `changed` is called when a link came or went."""

    def __init__(
        self,
        *,
        identity: Identity,
        verifier: Verifier,
        udp: UdpSocket,
        relays: Sequence[str],
        insecure_relays: bool,
        peers: Mapping[str, Sequence[str]],
        opened: Callable[[str, LinkStream], None],
        changed: Callable[[], None],
        log: Log,
        random: Random,
        wall: Callable[[], float],
        token: Callable[[int], bytes],
    ) -> None:
        self._identity, self._verifier, self._udp = identity, verifier, udp
        self._opened, self._changed, self._log = opened, changed, log
        self._random, self._wall, self._token = random, wall, token
        self.relay = RelayLink(
            relays,
            identity=identity,
            told=self._relay_told,
            lost=self._relay_lost,
            random=random,
            log=log,
            insecure=insecure_relays,
        )
        self.switch = Switch(udp, self.relay, self._answer)
        self.peers = {name: Peer(name, addresses) for name, addresses in peers.items() if name != identity.name}
        self._own = self._own_addresses()
        self._nursery: trio.Nursery | None = None

    @property
    def linked(self) -> list[Peer]:
        """The nodes to which there is a link now."""
        return [peer for peer in self.peers.values() if peer.connection is not None]

    def connection(self, node: str) -> Connection:
        """The link to a node; UnreachableError when there is none."""
        peer = self.peers.get(node)
        if peer is None or peer.connection is None:
            raise UnreachableError(f"no link to node {node}")
        return peer.connection

    @property
    def address(self) -> Address:
        """Of the UDP socket."""
        return self._udp.address

    @property
    def dropped(self) -> dict[str, int]:
        """Datagrams that were dropped, by reason."""
        return {**self.switch.dropped, "UDP send": self._udp.lost, "relay queue": self.relay.dropped}

    async def run(self) -> None:
        """Keep the links until cancelled; then tell the peers that we go."""
        try:
            async with trio.open_nursery() as self._nursery:
                for service in (self.switch.read, self.switch.keep_time, self.relay.run, self._watch_addresses):
                    self._nursery.start_soon(service)
                for peer in tuple(self.peers.values()):
                    self._nursery.start_soon(self._keep_linked, peer)
        finally:
            for connection in tuple(self.switch.connections):
                connection.close("the node stops")

    # ---- dialling

    async def _keep_linked(self, peer: Peer) -> None:
        """Dial the peer whenever there is no link and it is our turn."""
        backoff = Backoff(DIAL_FIRST_S, DIAL_CAP_S, self._random)
        warned = ""
        while True:
            peer.addresses = await self._resolved(peer.configured)
            await self._our_turn(peer)
            connection, began = self._dial(peer), trio.current_time()
            await connection.over.wait()
            if trio.current_time() - began >= STEADY_S:
                backoff.reset()
            if connection.probes is None and connection.reason != warned:
                warned = connection.reason
                self._log.warning(f"no link to {peer.name}: {warned}; retrying")
            with trio.move_on_after(backoff.next()):
                await peer.changed.wait()

    async def _our_turn(self, peer: Peer) -> None:
        """Wait until there is no link to the peer and we are to dial it."""
        while True:
            changed, wait = peer.changed, None
            if peer.connection is None:
                present, addressed = peer.session is not None, bool(peer.addresses)
                wait = patience(self._identity.name, peer.name, present=present, addressed=addressed)
            with trio.move_on_after(math.inf if wait is None else wait):
                await changed.wait()
                continue
            return

    def _dial(self, peer: Peer) -> Connection:
        dialler = Dialler(peer.name, identity=self._identity, verifier=self._verifier, wall=self._wall)
        link = Link.dial(self._identity, dialler, peer.name, trio.current_time())
        connection = Connection(link, self._path(peer), ports=self.switch, owner=self, node=peer.name)
        self.switch.add(connection, link.connection_id)
        connection.flush()
        return connection

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
        return [address for address in found if self._udp.ipv6 or ":" not in address.host]

    # ---- answering

    def _answer(self, connection_id: bytes, sender: str | None) -> Connection:
        doorkeeper = Doorkeeper(
            identity=self._identity, verifier=self._verifier, wall=self._wall, token=self._token, admit=self._admit
        )
        link = Link.accept(self._identity, doorkeeper, connection_id, trio.current_time())
        path = self._path(self.peers.get(sender) if sender is not None else None)
        connection = Connection(link, path, ports=self.switch, owner=self, node=sender)
        self.switch.add(connection, connection_id, link.connection_id)
        return connection

    def _admit(self, subject: Subject) -> None:
        """Whether a node that has just proved itself may have a link: not when one that wins is there already."""
        peer = self._know(subject.name)
        if peer is None:
            raise DeniedError(f"{MAX_PEERS} other nodes are known here")
        old = peer.connection
        if old is not None and not replaces(new_by_lower=subject.name < self._identity.name, old_by_lower=self._by_lower(old)):
            old.link.check(trio.current_time())  # perhaps the peer was restarted: then the old link goes soon
            old.flush()
            raise DeniedError("there is a link already")

    def _path(self, peer: Peer | None) -> Path:
        present = peer is not None and peer.session is not None
        return Path(relay=present, configured=peer.addresses if peer is not None else (), token=self._token)

    def _know(self, name: str) -> Peer | None:
        """The peer of that name, made when it is new; None when it cannot be one."""
        peer = self.peers.get(name)
        if peer is None and self._nursery is not None and len(self.peers) < MAX_PEERS and self._could_be(name):
            peer = self.peers[name] = Peer(name, ())
            self._nursery.start_soon(self._keep_linked, peer)
        return peer

    def _could_be(self, name: str) -> bool:
        return name != self._identity.name and NAME.fullmatch(name) is not None

    def _by_lower(self, connection: Connection) -> bool:
        return (self._identity.name < (connection.node or "")) == connection.link.dialled

    # ---- what connections tell

    def up(self, connection: Connection) -> None:
        """The peer is proved: this is the link to it, unless the one that is there wins."""
        peer = self.peers[connection.link.peer or ""]
        old = peer.connection
        if old is not None and not replaces(new_by_lower=self._by_lower(connection), old_by_lower=self._by_lower(old)):
            connection.close("there is a link already")
            return
        peer.connection, peer.since = connection, self._wall()
        self.switch.prove(connection)
        connection.path.relay(peer.session is not None)
        connection.path.learn(peer.addresses, trio.current_time())
        connection.link.tell(Candidates(self._own))
        if old is not None:
            old.close("replaced by a newer link")
        self._log.info(f"link to {peer.name}")
        peer.change()
        self._changed()

    def down(self, connection: Connection) -> None:
        """The connection is over."""
        self.switch.remove(connection)
        peer = self.peers.get(connection.node or "")
        if peer is not None and peer.connection is connection:
            peer.connection = None
            self._log.info(f"link to {peer.name} lost: {connection.reason}")
            peer.change()
            self._changed()

    def opened(self, connection: Connection, stream: LinkStream) -> None:
        """The peer opened a stream."""
        self._opened(stream.peer, stream)

    def told(self, connection: Connection, addresses: Sequence[str]) -> None:
        """The peer told where it may be reached."""
        usable = candidates(addresses, ipv6=self._udp.ipv6, loopback=self._on_loopback())
        connection.path.learn(usable, trio.current_time())

    # ---- what the relay tells

    def _relay_told(self, message: Told) -> None:
        if isinstance(message, Deliver):
            self.switch.from_relay(message.sender, message.datagrams)
        elif isinstance(message, Presence):
            peer = self._know(message.node)
            if peer is not None:
                self._reachable(peer, message.session)
        elif isinstance(message, Absence):
            peer = self.peers.get(message.node)
            if peer is not None:
                self._reachable(peer, None)

    def _relay_lost(self) -> None:
        for peer in self.peers.values():
            self._reachable(peer, None)

    def _reachable(self, peer: Peer, session: int | None) -> None:
        """The relay reaches the peer in this session of it, or no more."""
        news = session is not None and session != peer.session
        peer.session = session
        for connection in tuple(self.switch.connections):
            if connection.node == peer.name:
                connection.path.relay(session is not None)
                if news:  # it may be a new process that knows nothing of this link
                    connection.link.check(trio.current_time())
                    connection.flush()
        peer.change()

    # ---- our own addresses

    def _on_loopback(self) -> bool:
        return self._udp.address.loopback

    def _own_addresses(self) -> list[str]:
        bound = self._udp.address
        if bound.ip is not None and not bound.ip.is_unspecified:
            return [str(bound)]
        hosts = own_addresses(ipv6=self._udp.ipv6)
        return [str(Address(host, bound.port)) for host in hosts[:MAX_CANDIDATES]]

    async def _watch_addresses(self) -> None:
        while True:
            await trio.sleep(ADDRESSES_S)
            own = self._own_addresses()
            if own != self._own:
                self._own = own
                for peer in self.linked:
                    if peer.connection is not None:
                        peer.connection.link.tell(Candidates(own))
                        peer.connection.flush()
