"""Brings a client's connection to an endpoint of its service, on this node or through the link to another one."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import trio
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError, UnreachableError
from edged.kit.log import Log
from edged.mesh import peek, streams
from edged.mesh.balancer import Balancer
from edged.mesh.names import Name
from edged.mesh.policy import USUAL, Policy
from edged.mesh.table import Endpoint, Table
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

    async def serve(
        self, client: trio.SocketStream, name: Name, port: int, *, opened: bytes = b"", failed: bytes = b""
    ) -> None:
        """Connect `client` to an endpoint of `port` of service `name` until both are done. Closes `client`, whatever happens.

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
            await self._serve(client, name, port, opened, failed)
        finally:
            self.statistics.open -= 1
            await streams.reset(client)  # unless it was closed in good order

    async def _serve(self, client: trio.SocketStream, name: Name, port: int, opened: bytes, failed: bytes) -> None:
        try:
            caller = str(client.socket.getpeername()[0])
            policy, namespace = self._policy(name), self._table().namespace_of.get(caller, "")
            if not self._table().admits(name, namespace):
                self.statistics.refused += 1
                await _say(client, failed)
                return
            if policy.header:  # a client that waits for our word says nothing before
                await client.send_all(opened)
                opened = failed = b""
            head = await peek.head_of(client) if policy.header else streams.head(client)
        except (OSError, trio.BrokenResourceError):
            return  # it has left
        known = (peek.header(head, policy.header) if policy.header else None) or caller
        reached = await self._reach(name, port, policy, known, namespace, head)
        if reached is None:
            self.statistics.unreachable += 1
            await _say(client, failed)
            return
        endpoint, upstream = reached
        try:
            with suppress(trio.BrokenResourceError):  # it is gone already: so is the client's connection, when this returns
                if opened:
                    await client.send_all(opened)
                await streams.splice(streams.keep_alive(client), upstream)
        finally:
            self._balancer.ended(endpoint)
            await streams.reset(upstream)

    def _policy(self, name: Name) -> Policy:
        entry = self._table().entries.get(name)
        return entry.policy if entry is not None else USUAL

    async def _reach(
        self, name: Name, port: int, policy: Policy, known: str, namespace: str, head: bytes
    ) -> tuple[Endpoint, HalfCloseableStream] | None:
        """Who answers, and a connection to it; the call counts as under way there.

        `known` is what the client is known by; `head`, what it has said already, is on its way with the opening.
        """
        table = self._table()
        endpoints = self._balancer.order(table.endpoints(name, port), trio.current_time(), policy, known, (name, port))
        with trio.move_on_after(REACH_S):
            for endpoint in endpoints[:MAX_TRIES]:
                began, stream = trio.current_time(), None
                self._balancer.began(endpoint)
                try:
                    stream = await self._dial(endpoint, Tunnel(*name, port, endpoint.pod, namespace), table.node, head)
                except (UnreachableError, DeniedError) as error:
                    self.statistics.failed_dials += 1
                    self._balancer.failed(endpoint, trio.current_time())
                    self._log.debug(f"{name}:{port}: pod {endpoint.pod} on {endpoint.node}: {error}; trying another one")
                finally:
                    if stream is None:
                        self._balancer.ended(endpoint)
                if stream is not None:
                    self._balancer.succeeded(endpoint, trio.current_time() - began, trio.current_time())
                    return endpoint, stream
        return None

    async def _dial(self, endpoint: Endpoint, opening: Tunnel, node: str, head: bytes) -> HalfCloseableStream:
        if endpoint.node == node:
            return await streams.connect(endpoint.ip, endpoint.port, head)
        try:
            with trio.fail_after(OPEN_S):
                return await self._open_stream(endpoint.node, opening, head)
        except trio.TooSlowError as error:
            raise UnreachableError(f"node {endpoint.node}: no answer in {OPEN_S:g} s") from error


async def _say(client: trio.SocketStream, last: bytes) -> None:
    """The last word to a client that waits for one: an end in good order, so that it is heard."""
    if last:
        with suppress(trio.BrokenResourceError):  # it left
            await client.send_all(last)
            await client.aclose()
