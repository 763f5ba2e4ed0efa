"""The shell of replication: one stream a link, kept as long as the link, and what all streams of this node share."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random

import trio

from edged.errors import ConflictError, DeniedError, EdgedError, ProtocolError, StorageError, UnreachableError
from edged.hub import names
from edged.identity.keyring import Keyring
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.model.core import Node
from edged.model.objects import key
from edged.store.events import WARNING, Recorder
from edged.store.store import Store
from edged.sync.abroad import Abroad
from edged.sync.clock import Clock
from edged.sync.exchange import Exchange
from edged.sync.judge import Judge
from edged.sync.membership import Membership
from edged.sync.session import Session
from edged.wire.codec import VERSION, framed
from edged.wire.peer import ANSWER, Opened, Sync
from edged.wire.peer import Refused as PeerRefused
from edged.wire.sync import SYNC, Found, Place, Refused, Register, home_of, node_of

GOODBYE_S = 2.0  # to tell a peer why its words are refused
FAREWELL_S = 1.0  # to tell all peers that this node stops
DISK_S = 5.0  # a disk that took nothing is asked again: within 10 s of space coming back all is in step again
COPY_S = 60.0  # a fresh copy of which nothing came for so long is asked of another peer
TOLD_AGAIN_S = 60.0  # what a node may not write is recorded at most this often, whatever and how much it writes

OpenStream = Callable[[str, Sync], Awaitable[trio.abc.HalfCloseableStream]]
Drop = Callable[[str, str], None]
Replicate = Callable[[str, trio.abc.HalfCloseableStream], Awaitable[str]]


class Replicator:
    """Keeps this node's store and each linked peer's equal. Of two linked nodes the one with the lower name opens the stream.

    A peer whose words are refused is told why and left alone until `backoff` says to try again; others are unharmed. One
    that says what no honest node would loses its link, too: `drop(peer, reason)`. `group` is this node's; `abroad` are the
    others, if there are any.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        membership: Membership,
        open_stream: OpenStream,
        *,
        group: str,
        keys: Keyring,
        judge: Judge,
        drop: Drop,
        recorder: Recorder,
        backoff: Callable[[], Backoff],
        random: Random,
        log: Log,
        abroad: Abroad | None = None,
    ) -> None:
        self.store, self.clock, self.membership, self.judge, self.log = store, clock, membership, judge, log
        self._open_stream, self.home, self._keys, self._drop = open_stream, group, keys, drop
        self._recorder, self._backoff, self._random, self._abroad = recorder, backoff, random, abroad
        self._kept: set[str] = set()
        self._exchanges: set[Exchange] = set()
        self._was_ahead = False  # this machine's clock, and what it wrote then is not stamped anew
        self._told: dict[str, str] = {}
        self._said_denied: dict[str, float] = {}
        self._certificates = frozenset(store.certificates())
        self._said_opaque: set[str] = set()  # kinds; as many as there are
        self._copying = ("", -COPY_S)  # from whom a fresh copy is taken, and when something of it came last
        self._missing: dict[Place, set[str]] = {}  # damaged places, and who has nothing there
        self.refused = 0  # dialogues that ended by words that were not taken
        self.denied_registers = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Replicate with every linked peer of a higher name, as links come and go; those of lower names come to `serve`."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            nursery.start_soon(self._keep_own_certificate)
            if self._abroad is not None:
                nursery.start_soon(self._abroad.run, self._keep_abroad)
            while True:
                view = self.membership.view
                for peer in view.linked - self._kept:
                    if peer > self.membership.node:
                        self._kept.add(peer)
                        nursery.start_soon(self._keep, peer)
                await self.membership.changed(view)

    async def _keep_own_certificate(self) -> None:
        """What was signed by a key that was replaced since must be believed for ever."""
        try:
            await self.learnt()
        except StorageError as error:
            self.log.info(f"this node's certificate is kept later: {error}")

    async def _keep(self, peer: str) -> None:
        """Replicate with `peer` whenever it is linked."""
        backoff = self._backoff()
        while True:
            while peer not in (view := self.membership.view).linked:
                await self.membership.changed(view)
            await self._attempt(peer, backoff, self._while_linked)

    async def _keep_abroad(self, peer: str) -> None:
        """Replicate with a linked `peer` of another group until cancelled."""
        backoff = self._backoff()
        while True:
            await self._attempt(peer, backoff, self._replicate)

    async def _attempt(self, peer: str, backoff: Backoff, replicate: Replicate) -> None:
        """One stream, to its end, and the pause after it."""
        try:
            stream = await self._open_stream(peer, Sync(VERSION))
            if not await replicate(peer, stream):
                backoff.reset()
                self.log.info(f"replication with {peer}: the stream ended")
        except (UnreachableError, DeniedError) as error:
            self.log.info(f"replication with {peer}: {error}")
        await trio.sleep(min(backoff.next(), DISK_S if self.store.trouble else math.inf))

    async def _while_linked(self, peer: str, stream: trio.abc.HalfCloseableStream) -> str:
        """Replicate until the stream ends, or neither end wants the link any more: it may stay a while for others."""
        reason = ""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while peer in (view := self.membership.view).linked:
                    await self.membership.changed(view)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            reason = await self._replicate(peer, stream)
            nursery.cancel_scope.cancel()
        return reason

    async def farewell(self) -> None:
        """Wait until the peers were told all that there is to say, for as long as FAREWELL_S."""
        with trio.move_on_after(FAREWELL_S):
            for exchange in tuple(self._exchanges):
                exchange.rouse()
            for exchange in tuple(self._exchanges):
                await exchange.settled.wait()

    async def serve(self, peer: str, opening: Sync, stream: trio.abc.HalfCloseableStream) -> None:
        """A peer opened a stream to replicate: the hub's handler for `Sync`."""
        if opening.version != VERSION:
            await stream.send_all(framed(ANSWER.encode(_refusal(opening.version))))
            await stream.aclose()
            return
        await stream.send_all(framed(ANSWER.encode(Opened())))
        await self._replicate(peer, stream)

    async def _replicate(self, peer: str, stream: trio.abc.HalfCloseableStream) -> str:
        """Both directions until the stream ends; a broken stream is an ordinary end. Returns why words were refused, or ""."""
        session = self._session(peer)
        refusal: EdgedError | None = None
        async with stream:
            exchange = Exchange(peer, stream, session, self)
            self._exchanges.add(exchange)
            try:
                await exchange.run()
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            except* (ProtocolError, DeniedError, ConflictError, StorageError) as group:
                refusal = _first(group)
                await self._refuse(peer, stream, refusal)
            finally:
                self._exchanges.discard(exchange)
        if isinstance(refusal, ProtocolError):
            self._drop(peer, str(refusal))
        if refusal is None:
            self._told.pop(peer, None)
        return str(refusal or "")

    def _session(self, peer: str) -> Session:
        subject = self._abroad.subject(peer) if self._abroad is not None else None
        if self._abroad is None or subject is None:
            limited, scopes = peer in self.membership.limited, _within(self.home, peer)
            return Session(peer, limited=limited, scopes=scopes, clock=self.clock, keys=self._keys)
        common = self._abroad.common(subject)
        return Session(peer, limited=subject.limited, scopes=common, clock=self.clock, keys=self._keys)

    async def _refuse(self, peer: str, stream: trio.abc.HalfCloseableStream, refusal: EdgedError) -> None:
        self.refused += 1
        reason = str(refusal)
        if self._told.get(peer) != reason:  # the same at each try would bury all else
            self.log.warning(f"replication with {peer} ends: {reason}; tried again, at least every 30 s")
        self._told[peer] = reason
        with trio.move_on_after(GOODBYE_S, shield=True):
            try:
                await stream.send_all(framed(SYNC.encode(Refused(reason))))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # it is gone already

    # ---- what the exchanges share

    def jitter(self) -> float:
        """From 0.8 to 1.2."""
        return 0.8 + 0.4 * self._random.random()

    async def learnt(self) -> None:
        """Keep the certificates that are new."""
        new = self._keys.ids - self._certificates
        if new:
            self._certificates |= new
            await self.store.keep_certificates({id_: der for id_ in new if (der := self._keys.certificate(id_)) is not None})

    async def restamp(self, held: Mapping[str, int]) -> None:
        """Stamp anew what this node wrote while its clock was far ahead: nobody took it then, and now everybody may.

        The peer's clock and ours agree, else there would be no dialogue; so it is not ours that has fallen behind.
        """
        limit = self.clock.limit
        self._was_ahead |= self.clock.latest > limit
        if not self._was_ahead:
            return
        ours = self.store.held()
        if any(held.get(origin, 0) < ours.get(origin, 0) for origin in self.store.origins):
            if self.clock.latest > limit:
                self.clock.set_back()
            count = await self.store.restamp(limit)
            self._was_ahead = False  # and not before: who is cancelled meanwhile leaves the rest to the next
            if count:
                self.log.warning(f"this machine's clock was far ahead: {count} writes of that time are stamped anew")

    async def found(self, peer: str, found: Found) -> None:
        """Put back what a peer has; what no peer that is linked has, and nobody wrote since, is given up."""
        damaged = self.store.damaged
        await self.store.restore([register for register in found.registers if register.place in damaged])
        self._missing = {place: peers for place, peers in self._missing.items() if place in damaged}
        for place in found.missing:
            if place in damaged:
                self._missing.setdefault(place, set()).add(peer)
        linked = self.membership.view.linked
        lost = [place for place, peers in self._missing.items() if linked <= peers and place in self.store.damaged]
        if lost:
            self.log.error(f"{len(lost)} registers were damaged on the disk and no linked node has them: {_names(lost)}")
            await self.store.abandon(lost)

    async def forgot(self, register: Register, peer: str) -> None:
        """Go on as another store, since this one's numbers were used before, and say so."""
        count = await self.store.renew(register)
        if count is None:
            return
        why = (
            f"the disk went back to an older state: {peer} holds writes of this node that it does not know. "
            f"It takes them back, and writes as {self.store.origin}; {count} writes since its start are written again"
        )
        self.log.error(why)
        about = self.store.get(key(Node, self.membership.node))
        if about is not None:
            await self._recorder.record(about, WARNING, "StoreWentBack", why)

    def unread(self) -> None:
        """Say once of each kind that there are objects of it which this version cannot read."""
        for kind in sorted(self.store.opaque_kinds - self._said_opaque):
            self._said_opaque.add(kind)
            self.log.warning(f"a newer edged writes {kind} that this one cannot read: held and passed on, and not shown here")

    def compare(self) -> None:
        """Each exchange compares what both of its ends hold."""
        for exchange in self._exchanges:
            exchange.compare()

    def copied(self) -> None:
        """All peers hear what is held here now."""
        for exchange in self._exchanges:
            exchange.tell_numbers()

    def may_copy(self, peer: str) -> bool:
        """From one at a time, as long as something of it comes."""
        now = trio.current_time()
        if peer != self._copying[0] and now < self._copying[1] + COPY_S:
            return False
        self._copying = (peer, now)
        return True

    async def denied(self, register: Register, why: str) -> None:
        """Count it, and record it as an Event of the node that wrote it, once in a while."""
        self.denied_registers += 1
        node, now = node_of(register.origin), trio.current_time()
        ours = home_of(register.origin) == self.home  # of another group's nodes there is no object here
        about = self.store.get(key(Node, node)) if ours else None
        if about is not None and now - self._said_denied.get(node, -TOLD_AGAIN_S) >= TOLD_AGAIN_S:
            self._said_denied[node] = now
            self.log.warning(f"{node} wrote what it may not: {why}; it is left out")
            await self._recorder.record(about, WARNING, "WriteRefused", why)


def _within(group: str, peer: str) -> tuple[str, ...]:
    """What is shared with a peer of which no certificate is at hand: with one of another group the fleet's objects alone."""
    return () if names.abroad(peer) else (group,)


def _first(group: BaseExceptionGroup[EdgedError]) -> EdgedError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EdgedError)  # noqa: S101 - the group was caught by these types
    return error


def _names(places: Sequence[Place]) -> str:
    """The first few, for a person."""
    named = ["/".join(part for part in place[1:] if part) for place in places[:3]]
    return ", ".join(named) + (", ..." if len(places) > len(named) else "")


def _refusal(version: int) -> PeerRefused:
    return PeerRefused(f"replication version {version} is not spoken here, version {VERSION} is")
