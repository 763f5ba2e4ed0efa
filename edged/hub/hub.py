"""The hub's door: streams to linked nodes, and the streams that they open, served by the handlers of other rooms."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import trio

from edged.errors import DeniedError, ProtocolError, UnreachableError
from edged.hub.connection import Connection
from edged.hub.findings import OFF, NetCheck
from edged.hub.linker import NOT_NEEDED, Linker
from edged.hub.names import abroad
from edged.hub.peer import Peer
from edged.hub.quic import MAX_STREAMS
from edged.hub.stream import LinkStream
from edged.identity.certificates import Subject
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address, parse_address
from edged.kit.log import Log
from edged.kit.proxy import Proxy
from edged.kit.udp import UdpSocket
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, MAX_CONTROL, OPENING, Flows, Opened, Opening, Ping, Refused, Sync, Tunnel

OPENING_S = 10.0  # for the other end to say what a stream is for, or to answer
MAX_SERVED = MAX_STREAMS + 128  # streams of one node that are served at a time: all that QUIC lets it have, some may be ending

SERVED_ABROAD = (Ping, Sync, Tunnel, Flows)  # what a node of another group may open: each looks at who asks

Handler = Callable[[str, Any, LinkStream], Awaitable[None]]  # each takes the kind of opening that it is registered for


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A link as it is now. `rtt` is in seconds, None until measured; `since` is wall time.

    `sent_by` and `received_by` are bytes by kind of path; where two ways are used at once, what went by each.
    """

    node: str
    path: str
    address: str | None
    rtt: float | None
    bytes_sent: int
    bytes_received: int
    streams: int
    since: float
    sent_by: Mapping[str, int]
    received_by: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """`relay` is the URL of the relay that takes us, None when none does, for `relay_reason`. `dropped` counts by reason.

    `observed` is our address as that relay sees it. `port_mapping` is what the gateway maps for us, in words.
    """

    address: str
    relay: str | None
    observed: str | None
    relay_reason: str
    port_mapping: str
    links: tuple[LinkStatus, ...]
    dropped: Mapping[str, int]


class Hub:
    """Links this node to the others of its group, and to some of other groups, which are called GROUP/NAME, while `run` runs.

    `listen` is the UDP socket's IP address and port, `peers` the configured addresses of nodes, "host:port". `handlers` serve
    accepted streams by the type of their opening: they answer it; the stream is closed when they return, reset when they
    raise. A stream that breaks under a handler is no fault of it; any other exception ends the hub. With `discovery` nodes on
    the LAN are found by beacons, with `port_mapping` the gateway is asked to map our UDP port. `proxy` is the way out to
    relays, None: as the environment says. `state_dir` is where the last known addresses are kept, None: nowhere.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        verifier: Verifier,
        relays: Sequence[str],
        listen: str,
        peers: Mapping[str, Sequence[str]],
        handlers: Mapping[type[Opening], Handler],
        log: Log,
        random: Random,
        insecure_relays: bool = False,
        proxy: Proxy | None = None,
        discovery: bool = False,
        port_mapping: bool = False,
        state_dir: Path | None = None,
        wall: Callable[[], float] = time.time,
        token: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._identity, self._verifier, self._relays, self._insecure_relays = identity, verifier, relays, insecure_relays
        self._listen, self._peers = parse_address(listen), peers
        self._handlers = handlers
        self._proxy, self._discovery, self._port_mapping, self._state_dir = proxy, discovery, port_mapping, state_dir
        self._wanted: frozenset[str] | None = None
        self._log, self._random, self._wall, self._token = log, random, wall, token
        self._linker: Linker | None = None
        self._changed = trio.Event()
        self._serving: Counter[str] = Counter()
        self._nursery: trio.Nursery | None = None
        self.turned_away = 0  # streams beyond MAX_SERVED
        self.misspoken = 0  # streams that did not say what they are for

    @property
    def linked(self) -> frozenset[str]:
        """The nodes of the group to which there is a link now."""
        return frozenset(peer.name for peer in self._peers_linked() if not abroad(peer.name))

    async def links_changed(self, known: frozenset[str]) -> frozenset[str]:
        """Wait until `linked` differs from `known`; returns it."""
        return await self._other(lambda: self.linked, known)

    @property
    def known(self) -> frozenset[str]:
        """The other nodes known of the group: configured, announced by the relay or a beacon, linked before. It only grows."""
        return frozenset(name for name in (self._linker.peers if self._linker is not None else ()) if not abroad(name))

    async def known_changed(self, before: frozenset[str]) -> frozenset[str]:
        """Wait until `known` differs from `before`; returns it."""
        return await self._other(lambda: self.known, before)

    @property
    def neighbours(self) -> frozenset[str]:
        """The linked nodes whose link one of both ends wants to keep; others are linked for a while, for a call."""
        return frozenset(peer.name for peer in self._peers_linked() if peer.neighbour and not abroad(peer.name))

    async def neighbours_changed(self, before: frozenset[str]) -> frozenset[str]:
        """Wait until `neighbours` differs from `before`; returns it."""
        return await self._other(lambda: self.neighbours, before)

    @property
    def abroad(self) -> frozenset[str]:
        """As `neighbours`, of other groups: GROUP/NAME. They are those to whom the relay introduced us, or configured."""
        return frozenset(peer.name for peer in self._peers_linked() if peer.neighbour and abroad(peer.name))

    async def abroad_changed(self, before: frozenset[str]) -> frozenset[str]:
        """Wait until `abroad` differs from `before`; returns it."""
        return await self._other(lambda: self.abroad, before)

    def subject(self, node: str) -> Subject | None:
        """Whom the certificate of a linked node names; None for one that is not linked."""
        peer = self._linker.peers.get(node) if self._linker is not None else None
        return peer.connection.link.subject if peer is not None and peer.connection is not None else None

    def _peers_linked(self) -> list[Peer]:
        return self._linker.linked if self._linker is not None else []

    def want(self, nodes: frozenset[str] | None) -> None:
        """Dial and keep links to these of the known nodes only; None, as at first: to all.

        A link that neither end wants is closed when it carried no stream for a minute. `open_stream` makes one to any node.
        """
        self._wanted = nodes
        if self._linker is not None:
            self._linker.want(nodes)

    def drop(self, node: str, reason: str) -> None:
        """End the link to a node that says what no honest one would; it is told the reason, and may come again."""
        if self._linker is not None:
            self._linker.drop(node, reason)

    async def open_stream(self, node: str, opening: Opening, head: bytes = b"") -> LinkStream:
        """A stream to `node` for what `opening` says, once the node has agreed. A known node without a link is dialled.

        `head`, at most link.SEND_BUFFER bytes less an opening, are its first bytes: they leave with the opening.
        UnreachableError when no link can be had or no answer came within OPENING_S, DeniedError when the node refuses.
        """
        with trio.move_on_after(OPENING_S):
            connection = await self._linked(node)
            try:
                return await self._opened_for(opening, head, connection)
            except UnreachableError:
                if connection.reason != NOT_NEEDED:
                    raise
            # It was closed just when we came: nobody has heard the opening.
            return await self._opened_for(opening, head, await self._linked(node))
        raise UnreachableError(f"node {node} did not answer within {OPENING_S:.0f} s")

    async def _linked(self, node: str) -> Connection:
        if self._linker is None:
            raise UnreachableError("the hub is not running")
        return await self._linker.connection(node)

    async def _opened_for(self, opening: Opening, head: bytes, connection: Connection) -> LinkStream:
        stream = connection.open_stream()
        try:
            stream.take((framed(OPENING.encode(opening)) + head,))  # a new stream has room for it
            answer = ANSWER.decode(await stream.receive_frame(MAX_CONTROL))
            if isinstance(answer, Refused):
                raise DeniedError(f"node {stream.peer}: {answer.reason}")
        except BaseException as error:
            stream.abort()
            if isinstance(error, trio.BrokenResourceError | ProtocolError):
                raise UnreachableError(f"node {stream.peer}: {error}") from error
            raise
        return stream

    async def ping(self, node: str) -> LinkStatus:
        """The link to a node, made when there is none, with what a question and its answer took just now as its `rtt`.

        UnreachableError when no link can be had or no answer comes.
        """
        try:
            with trio.fail_after(OPENING_S):
                await self._linked(node)
        except trio.TooSlowError as error:
            raise UnreachableError(f"no link to node {node} within {OPENING_S:.0f} s") from error
        began = trio.current_time()
        stream = await self.open_stream(node, Ping())
        took = trio.current_time() - began
        await stream.aclose()
        for link in self.statistics().links:
            if link.node == node:
                return replace(link, rtt=took)
        raise UnreachableError(f"the link to node {node} was lost")

    def statistics(self) -> HubStatistics:
        """What the hub is doing."""
        linker = self._linker
        if linker is None:
            return HubStatistics(str(self._listen), None, None, "the hub is not running", OFF, (), {})
        links = tuple(status for peer in linker.linked if (status := _status(peer)) is not None)
        dropped = linker.dropped | {"turned away": self.turned_away, "misspoken": self.misspoken}
        relay = linker.relay
        mapping = linker.port_mapping
        return HubStatistics(str(linker.address), relay.url, relay.observed, relay.reason, mapping, links, dropped)

    async def netcheck(self) -> NetCheck:
        """What the network lets us do, asked now. UnreachableError while the hub does not run."""
        if self._linker is None:
            raise UnreachableError("the hub is not running")
        return await self._linker.netcheck()

    async def run(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the links until cancelled. Started with the address of the UDP socket; UnreachableError when it is taken."""
        logging.getLogger("quic").setLevel(logging.CRITICAL)  # qh3 reports there what it also returns
        udp = UdpSocket(self._listen)
        try:
            linker = self._linker = Linker(
                identity=self._identity,
                verifier=self._verifier,
                udp=udp,
                relays=self._relays,
                insecure_relays=self._insecure_relays,
                proxy=self._proxy,
                peers=self._peers,
                discovers=self._discovery,
                maps=self._port_mapping,
                directory=self._state_dir,
                opened=self._opened,
                changed=self._notify,
                log=self._log,
                random=self._random,
                wall=self._wall,
                token=self._token,
            )
            linker.want(self._wanted)
            async with trio.open_nursery() as self._nursery:
                task_status.started(udp.address)
                await linker.run()
        finally:
            self._linker = None
            udp.close()
            self._notify()

    async def _other(self, now: Callable[[], frozenset[str]], before: frozenset[str]) -> frozenset[str]:
        while (nodes := now()) == before:
            await self._changed.wait()
        return nodes

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ---- streams that peers open

    def _opened(self, peer: str, stream: LinkStream) -> None:
        if self._nursery is None or self._serving[peer] >= MAX_SERVED:
            self.turned_away += 1
            stream.abort()
        else:
            self._serving[peer] += 1
            self._nursery.start_soon(self._serve, peer, stream)

    async def _serve(self, peer: str, stream: LinkStream) -> None:
        try:
            opening = await self._opening(peer, stream)
            if opening is not None:
                await (_answer_ping if isinstance(opening, Ping) else self._handlers[type(opening)])(peer, opening, stream)
            stream.close()
        except* (trio.BrokenResourceError, UnreachableError) as errors:  # the link went, or the peer gave up
            self._log.debug(f"a stream of {peer} broke: {errors.exceptions[0]}")
        finally:
            stream.abort()
            self._serving[peer] -= 1

    async def _opening(self, peer: str, stream: LinkStream) -> Opening | None:
        """What the stream is for; None when it was refused because we do not do that, or not for `peer`."""
        try:
            frame = stream.frame_nowait(MAX_CONTROL)
            if not frame:
                with trio.fail_after(OPENING_S):
                    frame = await stream.receive_frame(MAX_CONTROL)
            opening = OPENING.decode(frame)
            foreign = abroad(peer) and not isinstance(opening, SERVED_ABROAD)
            if (isinstance(opening, Ping) or type(opening) in self._handlers) and not foreign:
                return opening
            reason = f"no {type(opening).__name__} streams are served here{' to another group' if foreign else ''}"
        except (ProtocolError, trio.TooSlowError) as error:
            self.misspoken += 1
            reason = f"not an opening that is spoken here: {error}"
        await stream.send_all(framed(ANSWER.encode(Refused(reason))))
        return None


async def _answer_ping(_peer: str, _opening: Any, stream: LinkStream) -> None:
    await stream.send_all(framed(ANSWER.encode(Opened())))


def _status(peer: Peer) -> LinkStatus | None:
    connection = peer.connection
    if connection is None:
        return None
    link, path = connection.link, connection.path
    return LinkStatus(
        node=peer.name,
        path=path.kind,
        address=str(path.address) if path.address is not None else None,
        rtt=path.rtt if path.rtt is not None else link.rtt,
        bytes_sent=link.bytes_sent,
        bytes_received=link.bytes_received,
        streams=link.streams,
        since=peer.since,
        sent_by=dict(path.sent_bytes),
        received_by=dict(path.received_bytes),
    )
