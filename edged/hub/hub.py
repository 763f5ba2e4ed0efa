"""The hub's door: streams to linked nodes, and the streams that they open, served by the handlers of other rooms."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from edged.errors import DeniedError, ProtocolError, UnreachableError
from edged.hub.linker import Linker, Peer
from edged.hub.stream import LinkStream
from edged.hub.udp import UdpSocket
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address, parse_address
from edged.kit.log import Log
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, MAX_CONTROL, OPENING, Opening, Refused

OPENING_S = 10.0  # for the other end to say what a stream is for, or to answer
MAX_SERVED = 128  # streams of one node that are served at a time; QUIC lets it have 100 open, some may be ending

Handler = Callable[[str, Any, LinkStream], Awaitable[None]]  # each takes the kind of opening that it is registered for


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A link as it is now. `rtt` is in seconds, None until measured; `since` is wall time."""

    node: str
    path: str
    address: str | None
    rtt: float | None
    bytes_sent: int
    bytes_received: int
    streams: int
    since: float


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """`relay` is the URL of the relay that takes us, None when none does, for `relay_reason`. `dropped` counts by reason.

    `observed` is our address as that relay sees it.
    """

    address: str
    relay: str | None
    observed: str | None
    relay_reason: str
    links: tuple[LinkStatus, ...]
    dropped: Mapping[str, int]


class Hub:
    """Links this node to the others of its group, while `run` runs.

    `listen` is the UDP socket's IP address and port, `peers` the configured addresses of nodes, "host:port". `handlers` serve
    accepted streams by the type of their opening: they answer it; the stream is closed when they return, reset when they
    raise. A stream that breaks under a handler is no fault of it; any other exception ends the hub.
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
        wall: Callable[[], float] = time.time,
        token: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._identity, self._verifier, self._relays, self._insecure_relays = identity, verifier, relays, insecure_relays
        self._listen, self._peers, self._handlers = parse_address(listen), peers, handlers
        self._log, self._random, self._wall, self._token = log, random, wall, token
        self._linker: Linker | None = None
        self._changed = trio.Event()
        self._serving: Counter[str] = Counter()
        self._nursery: trio.Nursery | None = None
        self.turned_away = 0  # streams beyond MAX_SERVED
        self.misspoken = 0  # streams that did not say what they are for

    @property
    def linked(self) -> frozenset[str]:
        """The nodes to which there is a link now."""
        return frozenset(peer.name for peer in self._linker.linked) if self._linker is not None else frozenset()

    async def links_changed(self, known: frozenset[str]) -> frozenset[str]:
        """Wait until `linked` differs from `known`; returns it."""
        while self.linked == known:
            await self._changed.wait()
        return self.linked

    async def open_stream(self, node: str, opening: Opening) -> LinkStream:
        """A stream to `node` for what `opening` says, once the node has agreed.

        UnreachableError when there is no link or no answer within OPENING_S, DeniedError when the node refuses.
        """
        if self._linker is None:
            raise UnreachableError("the hub is not running")
        stream = self._linker.connection(node).open_stream()
        try:
            with trio.fail_after(OPENING_S):
                await stream.send_all(framed(OPENING.encode(opening)))
                answer = ANSWER.decode(await stream.receive_frame(MAX_CONTROL))
            if isinstance(answer, Refused):
                raise DeniedError(f"node {node}: {answer.reason}")
        except BaseException as error:
            stream.abort()
            if isinstance(error, trio.TooSlowError):
                raise UnreachableError(f"node {node} did not answer within {OPENING_S:.0f} s") from error
            if isinstance(error, trio.BrokenResourceError | ProtocolError):
                raise UnreachableError(f"node {node}: {error}") from error
            raise
        return stream

    def statistics(self) -> HubStatistics:
        """What the hub is doing."""
        linker = self._linker
        if linker is None:
            return HubStatistics(str(self._listen), None, None, "the hub is not running", (), {})
        links = tuple(status for peer in linker.linked if (status := _status(peer)) is not None)
        dropped = linker.dropped | {"turned away": self.turned_away, "misspoken": self.misspoken}
        relay = linker.relay
        return HubStatistics(str(linker.address), relay.url, relay.observed, relay.reason, links, dropped)

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
                peers=self._peers,
                opened=self._opened,
                changed=self._notify,
                log=self._log,
                random=self._random,
                wall=self._wall,
                token=self._token,
            )
            async with trio.open_nursery() as self._nursery:
                task_status.started(udp.address)
                await linker.run()
        finally:
            self._linker = None
            udp.close()
            self._notify()

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
            opening = await self._opening(stream)
            if opening is not None:
                await self._handlers[type(opening)](peer, opening, stream)
            await stream.aclose()
        except* (trio.BrokenResourceError, UnreachableError) as errors:  # the link went, or the peer gave up
            self._log.debug(f"a stream of {peer} broke: {errors.exceptions[0]}")
        finally:
            stream.abort()
            self._serving[peer] -= 1

    async def _opening(self, stream: LinkStream) -> Opening | None:
        """What the stream is for; None when it was refused because we do not do that."""
        try:
            with trio.fail_after(OPENING_S):
                opening = OPENING.decode(await stream.receive_frame(MAX_CONTROL))
            if type(opening) in self._handlers:
                return opening
            reason = f"no {type(opening).__name__} streams are served here"
        except (ProtocolError, trio.TooSlowError) as error:
            self.misspoken += 1
            reason = f"not an opening that is spoken here: {error}"
        await stream.send_all(framed(ANSWER.encode(Refused(reason))))
        return None


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
    )
