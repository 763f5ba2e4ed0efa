"""The shell of replication: one stream a link, deltas both ways, each stored before the next is read."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import trio

from edged.errors import ConflictError, DeniedError, ProtocolError, StorageError, UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.store.store import Store
from edged.sync.clock import Clock
from edged.sync.membership import Membership
from edged.sync.session import Session
from edged.wire.codec import VERSION, Frames, framed
from edged.wire.peer import ANSWER, Opened, Sync
from edged.wire.peer import Refused as PeerRefused
from edged.wire.sync import SYNC, Refused, SyncMessage

READ = 64 << 10  # bytes asked of a stream at once
GOODBYE_S = 2.0  # to tell a peer why its words are refused

OpenStream = Callable[[str, Sync], Awaitable[trio.abc.HalfCloseableStream]]


class Replicator:
    """Keeps this node's store and each linked peer's equal. Of two linked nodes the one with the lower name opens the stream.

    A peer whose words are refused is told why and left alone until `backoff` says to try again; others are unharmed.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        membership: Membership,
        open_stream: OpenStream,
        *,
        backoff: Callable[[], Backoff],
        log: Log,
    ) -> None:
        self._store, self._clock, self._membership, self._open_stream = store, clock, membership, open_stream
        self._backoff, self._log = backoff, log
        self._kept: set[str] = set()
        self._told: dict[str, str] = {}
        self.refused = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Replicate with every linked peer of a higher name, as links come and go; those of lower names come to `serve`."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                linked = self._membership.linked
                for peer in linked - self._kept:
                    if peer > self._membership.node:
                        self._kept.add(peer)
                        nursery.start_soon(self._keep, peer)
                await self._membership.changed(linked)

    async def _keep(self, peer: str) -> None:
        """Replicate with `peer` whenever it is linked."""
        backoff = self._backoff()
        while True:
            while peer not in (linked := self._membership.linked):
                await self._membership.changed(linked)
            try:
                stream = await self._open_stream(peer, Sync(VERSION))
                if not await self._replicate(peer, stream):
                    backoff.reset()
                    self._log.info(f"replication with {peer}: the stream ended")
            except (UnreachableError, DeniedError) as error:
                self._log.info(f"replication with {peer}: {error}")
            await trio.sleep(backoff.next())

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
        session, reason = Session(self._clock), ""
        async with stream:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, session, stream, learned := trio.Event())
                    await self._receive(session, stream, learned)
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            except* (ProtocolError, ConflictError, StorageError) as group:
                self.refused += 1
                reason = str(group.exceptions[0])
                if self._told.get(peer) != reason:  # the same at each try would bury all else
                    self._log.warning(f"replication with {peer} ends: {reason}; tried again, at least every 30 s")
                self._told[peer] = reason
                with trio.move_on_after(GOODBYE_S, shield=True):
                    await _say(stream, Refused(reason))
        if not reason:
            self._told.pop(peer, None)
        return reason

    async def _send(self, session: Session, stream: trio.abc.HalfCloseableStream, learned: trio.Event) -> None:
        await _say(stream, session.hello(self._store.held()))
        await learned.wait()
        while True:
            revision = self._store.revision
            while lacking := session.lacking(self._store.held()):
                for origin, since in lacking:
                    delta = self._store.delta(origin, since)
                    await _say(stream, delta)
                    session.sent(delta)
            await self._store.changed(revision)

    async def _receive(self, session: Session, stream: trio.abc.HalfCloseableStream, learned: trio.Event) -> None:
        async with aclosing(_heard(stream)) as messages:
            async for message in messages:
                delta = session.receive(message)
                learned.set()
                if delta is not None:
                    await self._store.merge(delta)


async def _heard(stream: trio.abc.HalfCloseableStream) -> AsyncGenerator[SyncMessage, None]:
    frames = Frames()
    while True:
        while (frame := frames.next()) is not None:
            yield SYNC.decode(frame)
        data = await stream.receive_some(READ)
        if not data:
            return
        frames.feed(data)


async def _say(stream: trio.abc.HalfCloseableStream, message: SyncMessage) -> None:
    try:
        await stream.send_all(framed(SYNC.encode(message)))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        if not isinstance(message, Refused):
            raise


def _refusal(version: int) -> PeerRefused:
    return PeerRefused(f"replication version {version} is not spoken here, version {VERSION} is")
