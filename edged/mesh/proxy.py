"""Brings a client's connection to an endpoint of its service, on this node or through the link to another one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError, UnreachableError
from edged.kit.log import Log
from edged.mesh import streams
from edged.mesh.balancer import Balancer
from edged.mesh.table import Endpoint, Name, Table
from edged.wire.peer import Tunnel

MAX_CONNECTIONS = 1024  # at a time: 2 descriptors and at most 128 KiB each; one more is reset at once
MAX_TRIES = 4  # endpoints dialled for one connection: two pods of one node may be gone and two other nodes away
REACH_S = 10.0  # for all tries together: a client learns that nobody is there before its own patience ends
OPEN_S = 5.0  # for one try through a link: the other node's dial takes up to streams.CONNECT_S

OpenStream = Callable[[str, Tunnel], Awaitable[HalfCloseableStream]]


@dataclass
class ProxyStatistics:
    """Counted since the start, but for `open`, which is now."""

    open: int = 0
    accepted: int = 0
    refused_full: int = 0
    failed_dials: int = 0
    unreachable: int = 0


class Proxy:
    """Serves connections to services. `table` gives the table as it is now."""

    def __init__(self, table: Callable[[], Table], balancer: Balancer, open_stream: OpenStream, log: Log) -> None:
        self._table, self._balancer, self._open_stream, self._log = table, balancer, open_stream, log
        self.statistics = ProxyStatistics()

    async def serve(self, client: trio.SocketStream, name: Name, port: int) -> None:
        """Connect `client` to an endpoint of `port` of service `name` until both are done. Closes `client`, whatever happens.

        A dial that fails is tried on another endpoint before the client notices; when none answers it gets a reset.
        """
        if self.statistics.open >= MAX_CONNECTIONS:
            self.statistics.refused_full += 1
            await streams.reset(client)
            return
        self.statistics.open += 1
        self.statistics.accepted += 1
        try:
            upstream = await self._reach(name, port)
            if upstream is None:
                self.statistics.unreachable += 1
            else:
                await streams.splice(streams.keep_alive(client), upstream)
        finally:
            self.statistics.open -= 1
            await streams.reset(client)  # unless it was closed in good order

    async def _reach(self, name: Name, port: int) -> HalfCloseableStream | None:
        table = self._table()
        endpoints = self._balancer.order(table.endpoints(name, port), trio.current_time())
        with trio.move_on_after(REACH_S):
            for endpoint in endpoints[:MAX_TRIES]:
                try:
                    stream = await self._dial(endpoint, name, port, table.node)
                except (UnreachableError, DeniedError) as error:
                    self.statistics.failed_dials += 1
                    self._balancer.failed(endpoint, trio.current_time())
                    self._log.debug(f"{name}:{port}: pod {endpoint.pod} on {endpoint.node}: {error}; trying another one")
                else:
                    self._balancer.succeeded(endpoint)
                    return stream
        return None

    async def _dial(self, endpoint: Endpoint, name: Name, port: int, node: str) -> HalfCloseableStream:
        if endpoint.node == node:
            return await streams.connect(endpoint.ip, endpoint.port)
        try:
            with trio.fail_after(OPEN_S):
                return await self._open_stream(endpoint.node, Tunnel(name.namespace, name.service, port, endpoint.pod))
        except trio.TooSlowError as error:
            raise UnreachableError(f"node {endpoint.node}: no answer in {OPEN_S:g} s") from error
