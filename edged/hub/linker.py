"""Keeps one proved link to each wanted node: hears of nodes, answers them, and decides which link stays."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from random import Random

import trio

from edged.errors import DeniedError, UnreachableError
from edged.hub.beacon import Hint
from edged.hub.book import Book
from edged.hub.candidates import candidates, outside
from edged.hub.connection import Connection
from edged.hub.dialling import Dialling
from edged.hub.dialogue import Doorkeeper
from edged.hub.discovery import Discovery
from edged.hub.findings import OFF, NetCheck
from edged.hub.forwarding import Forwarding
from edged.hub.link import Link
from edged.hub.mapper import PortMapper
from edged.hub.memory import Memory
from edged.hub.names import abroad, named, own_name, parted
from edged.hub.netcheck import look
from edged.hub.pairing import replaces, unused
from edged.hub.path import Path
from edged.hub.peer import Peer
from edged.hub.portsearch import hard_host
from edged.hub.relaylink import RelayLink
from edged.hub.relayspeech import Told, Welcomed
from edged.hub.stream import LinkStream
from edged.hub.switch import Switch
from edged.hub.ways import RELAY
from edged.identity.certificates import NAME, Subject
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address
from edged.kit.interfaces import own_addresses
from edged.kit.log import Log
from edged.kit.proxy import Proxy
from edged.kit.udp import UdpSocket
from edged.wire.peer import MAX_CANDIDATES, Candidates
from edged.wire.relay import Absence, Allotted, Deliver, Presence

LOOK_S = 20.0  # between looks at our own addresses, at links that nobody wants, at addresses worth remembering
NOT_NEEDED = "not needed now"
MAX_PEERS = 1024  # known nodes of our group; a relay that announces more is not believed
MAX_ABROAD = 1024  # of other groups: a dozen for most, two a group for who observes them all
RETURN_S = 60.0  # a node abroad that the relay announced before it went away is wanted for so long after it is back


class Linker:
    """`opened` gets each stream that a peer opens, `changed` is called when a link or a known node came, or a link went.

    `discovers`: find nodes on the LAN. `maps`: have the gateway map our port. `directory`: where last known addresses are
    kept; None: nowhere.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        verifier: Verifier,
        udp: UdpSocket,
        relays: Sequence[str],
        insecure_relays: bool,
        proxy: Proxy | None,
        peers: Mapping[str, Sequence[str]],
        discovers: bool,
        maps: bool,
        directory: FilePath | None,
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
            proxy=proxy,
            ipv6=udp.ipv6,
        )
        self.forwarding = Forwarding(
            udp,
            self.relay,
            wanting=self._want_forwarding,
            observed=self._tell_all,
            forwards=self._forwards,
            random=random,
        )
        self.switch = Switch(udp, self.relay, self.forwarding, self._answer)
        self.peers = {name: Peer(name, addresses, wanted=True) for name, addresses in peers.items() if name != identity.name}
        self._wanted: frozenset[str] | None = None
        self._interfaces = self._own_addresses()
        self._nursery: trio.Nursery | None = None
        self._welcomed = trio.current_time()
        self._book = Book(f"{identity.fleet}/{identity.group}", self._usable)
        self._memory = Memory(directory, self._book, log)
        self._dialling = Dialling(
            identity=identity,
            verifier=verifier,
            switch=self.switch,
            owner=self,
            book=self._book,
            path=self._path,
            ipv6=udp.ipv6,
            log=log,
            random=random,
            wall=wall,
        )
        self._discovery: Discovery | None = None
        if discovers and not udp.address.loopback:
            self._discovery = Discovery(
                udp.address, self, identity=identity, verifier=verifier, log=log, random=random, wall=wall, token=token
            )
        self._mapper: PortMapper | None = None
        if maps and not udp.address.loopback:
            self._mapper = PortMapper(udp.address, changed=self._tell_all, token=token, log=log)

    @property
    def linked(self) -> list[Peer]:
        """The nodes to which there is a link now."""
        return [peer for peer in self.peers.values() if peer.connection is not None]

    async def connection(self, node: str) -> Connection:
        """The link to a node, dialled when there is none. UnreachableError when it cannot be; the caller bounds the wait."""
        peer = self.peers.get(node)
        if peer is None:
            raise UnreachableError(f"no link to node {node}, which is not known here")
        return await self._dialling.linked(peer)

    def drop(self, node: str, reason: str) -> None:
        """End the link to a node, if there is one."""
        peer = self.peers.get(node)
        if peer is not None and peer.connection is not None:
            peer.connection.close(reason)

    def want(self, nodes: frozenset[str] | None) -> None:
        """Keep links to these of the known nodes of the group only; None: to all."""
        if nodes == self._wanted:
            return
        self._wanted = nodes
        for peer in self.peers.values():
            self._decide(peer)
        self._search()
        self._changed()

    def _decide(self, peer: Peer) -> None:
        """Whether a link to the peer is wanted: in our group as we were told, abroad while it is introduced or configured."""
        if abroad(peer.name):
            wanted = peer.announced or bool(peer.configured)
        else:
            wanted = self._wanted is None or peer.name in self._wanted
        if wanted != peer.wanted:
            peer.wanted = wanted
            self._tell(peer)
            peer.change()
            self._changed()

    @property
    def address(self) -> Address:
        """Of the UDP socket."""
        return self._udp.address

    @property
    def dropped(self) -> dict[str, int]:
        """Datagrams that were dropped, by reason."""
        beacons = self._discovery.refused if self._discovery is not None else 0
        return {**self.switch.dropped, "UDP send": self._udp.lost, "relay queue": self.relay.dropped, "beacon": beacons}

    async def run(self) -> None:
        """Keep the links until cancelled; then tell the peers that we go."""
        try:
            async with trio.open_nursery() as self._nursery:
                services = (
                    self.switch.read,
                    self.switch.read_further,
                    self.switch.keep_time,
                    self.relay.run,
                    self.forwarding.run,
                )
                for service in (*services, self._look_again):
                    self._nursery.start_soon(service)
                for peer in tuple(self.peers.values()):
                    self._nursery.start_soon(self._dialling.keep_linked, peer)
                self._memory.recall()
                for name in self._book.names():
                    self._know(name)
                for shell in (self._discovery, self._mapper):
                    if shell is not None:
                        self._nursery.start_soon(shell.run)
        finally:
            for connection in tuple(self.switch.connections):
                connection.close("the node stops")
            self._memory.save()

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
        name = named(subject, self._identity)
        peer = self._know(name)
        if peer is None:
            raise DeniedError(f"{MAX_ABROAD if abroad(name) else MAX_PEERS} other nodes are known here")
        old, by_lower = peer.connection, name < own_name(self._identity, name)
        if old is not None and not replaces(new_by_lower=by_lower, old_by_lower=self._by_lower(old)):
            old.check()  # perhaps the peer was restarted: then the old link goes soon
            raise DeniedError("there is a link already")

    def _path(self, peer: Peer | None) -> Path:
        present = peer is not None and peer.session is not None
        return Path(relay=present, configured=self._addresses(peer) if peer is not None else (), token=self._token)

    def _addresses(self, peer: Peer) -> list[Address]:
        return [*peer.resolved, *(found for found in self._book.addresses(peer.name) if found not in peer.resolved)]

    def _know(self, name: str) -> Peer | None:
        """The peer of that name, made when it is new; None when it cannot be one."""
        peer = self.peers.get(name)
        if peer is None and self._nursery is not None and self._could_be(name):
            peer = self.peers[name] = Peer(name, (), wanted=False)
            self._decide(peer)
            self._nursery.start_soon(self._dialling.keep_linked, peer)
            self._changed()
        return peer

    def _could_be(self, node: str) -> bool:
        group, name = parted(node)
        if not NAME.fullmatch(name) or (abroad(node) and not NAME.fullmatch(group)):
            return False
        if node == self._identity.name or group == self._identity.group:
            return False
        alike = sum(abroad(other) == abroad(node) for other in self.peers)
        return alike < (MAX_ABROAD if abroad(node) else MAX_PEERS)

    def _by_lower(self, connection: Connection) -> bool:
        node = connection.node or ""
        return (own_name(self._identity, node) < node) == connection.link.dialled

    # ---- what connections tell

    def up(self, connection: Connection) -> None:
        """The peer is proved: this is the link to it, unless the one that is there wins."""
        peer = self.peers[connection.link.peer or ""]
        old = peer.connection
        if old is not None and not replaces(new_by_lower=self._by_lower(connection), old_by_lower=self._by_lower(old)):
            connection.close("there is a link already")
            return
        peer.connection, peer.since, peer.failure = connection, self._wall(), ""
        self.switch.prove(connection)
        connection.path.relay(peer.session is not None)
        connection.path.learn(self._addresses(peer), trio.current_time())
        connection.path.forward(self.forwarding.address(peer.name), trio.current_time())
        connection.path.mapped(hard=self._hard)
        connection.link.tell(self._candidates(peer))
        if old is not None:
            old.close("replaced by a newer link")
        self._log.info(f"link to {peer.name}")
        self.forwarding.look()
        peer.change()
        self._changed()

    def down(self, connection: Connection) -> None:
        """The connection is over."""
        self.switch.remove(connection)
        peer = self.peers.get(connection.node or "")
        if peer is not None and peer.connection is connection:
            self._remember(peer)
            peer.connection = None
            self._log.info(f"link to {peer.name} lost: {connection.reason}")
            self.forwarding.look()
            self._search()
            peer.change()
            self._changed()

    def opened(self, connection: Connection, stream: LinkStream) -> None:
        """The peer opened a stream."""
        self._opened(stream.peer, stream)

    def steered(self, connection: Connection) -> None:
        """The path is another one, or wants the relay's help by UDP now, or no more."""
        if connection.node is not None and connection.path.kind == RELAY:
            self.forwarding.check(connection.node)
        self.forwarding.look()

    def told(self, connection: Connection, addresses: Sequence[str]) -> None:
        """The peer told where it may be reached, and whether it wants the link."""
        connection.path.learn(self._usable(addresses), trio.current_time())
        self._changed()

    # ---- what the relay tells

    def _relay_told(self, message: Told) -> None:
        if isinstance(message, Deliver):
            self.switch.from_relay(message.sender, message.datagrams)
        elif isinstance(message, Presence):
            peer = self._know(message.node)
            if peer is not None:
                self._introduced(peer, message.session)
        elif isinstance(message, Absence):
            peer = self.peers.get(message.node)
            if peer is not None:
                self._introduced(peer, None)
        elif isinstance(message, Allotted):
            if message.node in self.peers:
                self.forwarding.allotted(message.node, message.port)
        elif isinstance(message, Welcomed):
            self._welcomed = trio.current_time()
            self.forwarding.welcomed(message)

    def _introduced(self, peer: Peer, session: int | None) -> None:
        peer.announced = session is not None
        self._decide(peer)
        self._reachable(peer, session)

    def _relay_lost(self) -> None:
        self.forwarding.lost()
        for peer in self.peers.values():
            self._reachable(peer, None)

    def _reachable(self, peer: Peer, session: int | None) -> None:
        """The relay reaches the peer in this session of it, or no more."""
        news = session is not None and session != peer.session
        if session != peer.session:
            peer.session = session
            self.forwarding.parted(peer.name)
        for connection in self.switch.to(peer.name):
            connection.path.relay(session is not None)
            if news:  # it may be a new process that knows nothing of this link
                connection.check()
        peer.change()

    # ---- by UDP through the relay

    async def netcheck(self) -> NetCheck:
        """What the network lets us do, asked now."""
        return await look(self._udp, self.relay, self.forwarding, self._mapper)

    @property
    def port_mapping(self) -> str:
        """What the gateway maps for us, for a person."""
        return self._mapper.text if self._mapper is not None else OFF

    def _want_forwarding(self) -> list[str]:
        """Whose links are to go by it, or need our address as the relay sees it to find a direct path."""
        now = trio.current_time()
        return [
            peer.name
            for peer in self.linked
            if peer.session is not None and peer.connection is not None and peer.connection.path.wants_relay(now)
        ]

    def _forwards(self, node: str, address: Address | None) -> None:
        peer = self.peers.get(node)
        if peer is not None and peer.connection is not None:
            peer.connection.path.forward(address, trio.current_time())
            peer.connection.flush()

    def _tell_all(self) -> None:
        for peer in self.linked:
            self._tell(peer)

    # ---- what is heard on the LAN

    def known(self, hint: Hint, address: Address) -> bool:
        """Whether a node's beacon from there would change nothing: its link is direct, or is not wanted here."""
        peer = self.peers.get(hint.node)
        if peer is None:
            return False
        if peer.connection is not None and peer.connection.path.address is not None:
            return not hint.fresh
        return not hint.fresh and not peer.wanted and self._book.has_heard(hint.node, address)

    def found(self, hint: Hint, address: Address) -> None:
        """A node proved that it is on this LAN, at this address unless its beacon was replayed from there."""
        peer = self._know(hint.node) if self._usable((str(address),)) else None
        if peer is None:
            return
        news = self._book.heard(peer.name, address)
        if peer.connection is None or news:
            self._dialling.heard(peer, address)
        if peer.connection is not None and hint.fresh:
            peer.connection.check()  # perhaps it was restarted
        if self._discovery is not None and peer.connection is None and peer.wanted and peer.name < self._identity.name:
            self._discovery.answer()  # it is to dial

    @property
    def searching(self) -> bool:
        """Whether a wanted node of our group has no link, or none of it is linked."""
        ours = [peer for peer in self.peers.values() if not abroad(peer.name)]
        linked = any(peer.connection is not None for peer in ours)
        return not linked or any(peer.wanted and peer.connection is None for peer in ours)

    def _search(self) -> None:
        if self._discovery is not None and self.searching:
            self._discovery.search()

    # ---- from time to time

    async def _look_again(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            if self._discovery is not None:
                self._discovery.look()
            if self._mapper is not None:
                self._mapper.look()
            interfaces = self._own_addresses()
            if interfaces != self._interfaces:
                self._interfaces = interfaces
                self._tell_all()
                self.forwarding.moved()
            self.forwarding.look()
            for peer in self.linked:
                self._remember(peer)
                self._close_unused(peer)
            self._forget_abroad()
            await self._memory.keep()

    def _tell(self, peer: Peer) -> None:
        """Say to the peer where we are, and whether we want its link."""
        if peer.connection is not None:
            peer.connection.path.mapped(hard=self._hard)
            peer.connection.link.tell(self._candidates(peer))
            peer.connection.flush()

    @property
    def _hard(self) -> bool:
        """Whether our NAT draws a port for each flow: the relay's two ports see us at two."""
        return hard_host(self.forwarding.observed) is not None

    def _candidates(self, peer: Peer) -> Candidates:
        seen = (other.connection.path.seen for other in self.linked if other.connection is not None)
        others = outside(self.forwarding.observed, self.relay.observed, seen, self._udp.address.port)
        if self._mapper is not None and self._mapper.mapped is not None:
            others.insert(0, self._mapper.mapped)
        return Candidates([*dict.fromkeys([*map(str, others), *self._interfaces])][:MAX_CANDIDATES], peer.wanted)

    def _close_unused(self, peer: Peer) -> None:
        connection, now = peer.connection, trio.current_time()
        if connection is not None and unused(peer.wanted, connection.wanted, connection.quiet_for(now)):
            connection.close(NOT_NEEDED)

    def _forget_abroad(self) -> None:
        """Nodes of other groups come and go: who is introduced no more and has no link is known no more."""
        returned = self.relay.url is not None and trio.current_time() - self._welcomed >= RETURN_S
        for peer in [peer for peer in self.peers.values() if abroad(peer.name) and peer.session is None]:
            if returned:
                peer.announced = False
                self._decide(peer)
            if not (peer.wanted or peer.callers or self.switch.to(peer.name)):
                peer.keeping.cancel()
                del self.peers[peer.name]

    def _remember(self, peer: Peer) -> None:
        """The direct address by which its link runs now; where other groups are the relay knows."""
        if not abroad(peer.name) and peer.connection is not None and peer.connection.path.address is not None:
            self._book.proved(peer.name, peer.connection.path.address, self._wall())

    def _usable(self, addresses: Iterable[str]) -> list[Address]:
        return candidates(addresses, ipv6=self._udp.ipv6, loopback=self._udp.address.loopback)

    def _own_addresses(self) -> list[str]:
        bound = self._udp.address
        if bound.ip is not None and not bound.ip.is_unspecified:
            return [str(bound)]
        hosts = own_addresses(ipv6=self._udp.ipv6)
        return [str(Address(host, bound.port)) for host in hosts[:MAX_CANDIDATES]]
