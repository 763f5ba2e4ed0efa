"""Brings a client's connection to who answers it, on this node or through the link to another one."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import trio
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError, UnreachableError
from edged.kit.log import Log
from edged.mesh import peek, streams
from edged.mesh.balancer import Balancer
from edged.mesh.policy import Policy
from edged.mesh.table import Called, Caller, Endpoint, Table
from edged.wire.peer import Flows, Tunnel

MAX_CONNECTIONS = 1024  # at a time: 2 descriptors and at most 512 KiB each; one more is reset at once
MAX_TRIES = 4  # endpoints dialled for one connection: two pods of one node may be gone and two other nodes away
REACH_S = 10.0  # for all tries together: a client learns that nobody is there before its own patience ends
OPEN_S = 5.0  # for one try through a link: the other node's dial takes up to streams.CONNECT_S

OpenStream = Callable[[str, Tunnel | Flows, bytes], Awaitable[HalfCloseableStream]]


@dataclass
class ProxyStatistics:
    """Counted since the start, but for `open`, which is now."""

    open: int = 0
    accepted: int = 0
    refused_full: int = 0
    failed_dials: int = 0
    unreachable: int = 0
    refused: int = 0


class Proxy:
    """Serves connections to services. `table` gives the table as it is now."""

    def __init__(self, table: Callable[[], Table], balancer: Balancer, open_stream: OpenStream, log: Log) -> None:
        self._table, self._balancer, self._open_stream, self._log = table, balancer, open_stream, log
        self.statistics = ProxyStatistics()

    async def serve(self, client: trio.SocketStream, called: Called, *, opened: bytes = b"", failed: bytes = b"") -> None:
        """Connect `client` to who answers `called` until both are done. Closes `client`, whatever happens.

        A dial that fails is tried on another endpoint before the client notices; when none answers it gets a reset. A client
        that waits for our word hears `opened` first, or `failed` and an end in good order.
        """
        if self.statistics.open >= MAX_CONNECTIONS:
            self.statistics.refused_full += 1
            await streams.reset(client)
            return
        self.statistics.open += 1
        self.statistics.accepted += 1
        try:
            await self._serve(client, called, opened, failed)
        finally:
            self.statistics.open -= 1
            await streams.reset(client)  # unless it was closed in good order

    async def _serve(self, client: trio.SocketStream, called: Called, opened: bytes, failed: bytes) -> None:
        try:
            address = str(client.socket.getpeername()[0])
            policy, caller = self._table().policy(called.name), self._table().caller(address)
            if not self._table().admits(called, caller.namespace):
                self.statistics.refused += 1
                await _say(client, failed)
                return
            if policy.header:  # a client that waits for our word says nothing before
                await client.send_all(opened)
                opened = failed = b""
            head = await peek.head_of(client) if policy.header else streams.head(client)
        except (OSError, trio.BrokenResourceError):
            return  # it has left
        known = (peek.header(head, policy.header) if policy.header else None) or address
        reached = await self._reach(called, policy, known, caller, head)
        if reached is None:
            self.statistics.unreachable += 1
            await _say(client, failed)
            return
        endpoint, upstream = reached
        try:
            with suppress(trio.BrokenResourceError):  # it is gone already: so is the client's connection, when this returns
                if opened:
                    await client.send_all(opened)
                await streams.splice(client, upstream)
        finally:
            self._balancer.ended(endpoint)
            await streams.reset(upstream)

    async def _reach(
        self, called: Called, policy: Policy, known: str, caller: Caller, head: bytes
    ) -> tuple[Endpoint, HalfCloseableStream] | None:
        """Who answers, and a connection to it; the call counts as under way there.

        `known` is what the client is known by; `head`, what it has said already, is on its way with the opening.
        """
        table, now = self._table(), trio.current_time()
        endpoints = self._balancer.order(table.answering(called), now, policy, known, called)
        began, until = now, now + REACH_S
        for endpoint in endpoints[:MAX_TRIES]:
            if began >= until:
                break
            asked, stream = Tunnel(*called.name, called.port.number, endpoint.pod, *caller), None
            self._balancer.began(endpoint)
            try:
                stream = await self._dial(endpoint, asked, table.node, head, min(until, began + OPEN_S))
            except (UnreachableError, DeniedError) as error:
                self.statistics.failed_dials += 1
                self._balancer.failed(endpoint, trio.current_time())
                self._log.debug(f"{called}: pod {endpoint.pod} on {endpoint.node}: {error}; trying another one")
            finally:
                if stream is None:
                    self._balancer.ended(endpoint)
            ended = trio.current_time()
            if stream is not None:
                self._balancer.succeeded(endpoint, ended - began, ended)
                return endpoint, stream
            began = ended
        return None

    async def _dial(self, endpoint: Endpoint, opening: Tunnel, node: str, head: bytes, deadline: float) -> HalfCloseableStream:
        if endpoint.node == node:
            return await streams.connect(endpoint.ip, endpoint.port, head)
        with trio.CancelScope(deadline=deadline):
            return await self._open_stream(endpoint.node, opening, head)
        raise UnreachableError(f"node {endpoint.node}: no answer in time")


async def _say(client: trio.SocketStream, last: bytes) -> None:
    """The last word to a client that waits for one: an end in good order, so that it is heard."""
    if last:
        with suppress(trio.BrokenResourceError):  # it left
            await client.send_all(last)
            await client.aclose()
