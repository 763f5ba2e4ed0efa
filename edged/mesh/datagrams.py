"""Brings a client's datagrams to who answers them and the answers back, on this node or through the link.

A flow is a client's address at one of our sockets. It stays at one endpoint, from one source port, while that is there.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import NamedTuple, Protocol

import trio
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError, ProtocolError, UnreachableError
from edged.kit.log import Log
from edged.mesh import streams, udp
from edged.mesh.balancer import Balancer
from edged.mesh.flowlink import FlowLink
from edged.mesh.flows import FlowTable
from edged.mesh.table import Called, Caller, Endpoint, Table
from edged.wire.peer import Datagram, Ended, Flow, Flows, Said

SWEEP_S = 5.0  # between two looks for idle flows
RECALL_S = 10.0  # after so long a client may call another pod from the same port: the kernel forgets in 30 s (nf_conntrack_udp)

Client = tuple[str, int]
Key = tuple[socket.socket, Client]
OpenFlows = Callable[[str, Flows, bytes], Awaitable[HalfCloseableStream]]


@dataclass
class DatagramStatistics:
    """Counted since the start, but for `open`, which is now. `unreachable`: datagrams for which nobody was there."""

    open: int = 0
    accepted: int = 0
    evicted: int = 0
    unreachable: int = 0
    refused: int = 0
    dropped: int = 0


class _Way(Protocol):
    """How the datagrams of a flow leave."""

    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class _Open(NamedTuple):
    """A flow: where it came from, what it calls and who answers it."""

    key: Key
    called: Called
    endpoint: Endpoint
    way: _Way


class Datagrams:
    """Serves UDP ports while `run` runs. `table` gives the table as it is now."""

    _nursery: trio.Nursery

    def __init__(self, table: Callable[[], Table], balancer: Balancer, open_stream: OpenFlows, log: Log) -> None:
        self._table, self._balancer, self._open_stream, self._log = table, balancer, open_stream, log
        self._flows: FlowTable[Key, _Open] = FlowTable()
        self._links: dict[str, _Link] = {}
        self.statistics = DatagramStatistics()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the flows until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    await trio.sleep(SWEEP_S)
                    for flow in self._flows.expired(trio.current_time()):
                        self._end(flow)
        finally:
            for flow in self._flows.values():
                self._end(flow)

    async def serve(self, door: socket.socket, leads: Callable[[Client], Called | None]) -> None:
        """Take the datagrams that clients send to `door` until it is closed (`udp.close`). `leads` says whom a client calls."""
        await udp.receive(door, partial(self._take, door, leads))
        for flow in [flow for flow in self._flows.values() if flow.key[0] is door]:
            self._end(flow)

    def _take(self, door: socket.socket, leads: Callable[[Client], Called | None], data: bytes, client: Client) -> None:
        key, now = (door, client), trio.current_time()
        doubted = self._flows.idle(key, now) > RECALL_S
        flow = self._flows.get(key, now)
        if flow is not None and (
            flow.endpoint not in self._table().answering(flow.called) or (doubted and leads(client) != flow.called)
        ):
            self._end(flow)
            flow = None
        flow = flow or self._begin(key, leads(client))
        if flow is not None:
            flow.way.send(data)

    def _begin(self, key: Key, called: Called | None) -> _Open | None:
        if called is None:
            self.statistics.unreachable += 1
            return None
        now = trio.current_time()
        table = self._table()
        caller = table.caller(key[1][0])
        if not table.admits(called, caller.namespace):
            self.statistics.refused += 1
            return None
        policy = table.policy(called.name)
        for endpoint in self._balancer.order(table.answering(called), now, policy, key[1][0], called):
            try:
                way = self._way(key, called, endpoint, caller)
            except UnreachableError as error:
                self._balancer.failed(endpoint, now)
                self._log.debug(f"{called}: pod {endpoint.pod} on {endpoint.node}: {error}")
                continue
            flow = _Open(key, called, endpoint, way)
            self.statistics.accepted += 1
            self.statistics.open += 1
            if (oldest := self._flows.add(key, flow, now)) is not None:
                self.statistics.evicted += 1
                self._end(oldest)
            return flow
        self.statistics.unreachable += 1
        return None

    def _way(self, key: Key, called: Called, endpoint: Endpoint, caller: Caller) -> _Way:
        if endpoint.node == self._table().node:
            near = _Near(udp.connected(endpoint.ip, endpoint.port))
            self._nursery.start_soon(self._answers, near.sock, key, endpoint)
            return near
        link = self._links.get(endpoint.node)
        if link is None or link.scope.cancel_called:
            link = self._links[endpoint.node] = _Link(self)
            self._nursery.start_soon(self._carry, endpoint.node, link)
        return _Far(link, key, Flow(next(link.numbers), *called.name, called.port.number, endpoint.pod, *caller))

    async def _answers(self, sock: socket.socket, key: Key, endpoint: Endpoint) -> None:
        await udp.receive(sock, lambda data, _: self.answer(key, data))
        flow = self._flows.get(key, trio.current_time())
        if flow is not None and isinstance(flow.way, _Near) and flow.way.sock is sock:  # it was not ended: the pod refused
            self._balancer.failed(endpoint, trio.current_time())
            self._end(flow)

    def answer(self, key: Key, data: bytes) -> None:
        """Give a client what its pod says."""
        door, client = key
        self._flows.get(key, trio.current_time())
        try:
            door.sendto(data, client)
        except OSError:  # a full buffer, or the client is gone
            self.statistics.dropped += 1

    def lost(self, key: Key) -> None:
        """The other node ended a flow: the next datagram begins another one."""
        if (flow := self._flows.pop(key)) is not None:
            self._end(flow)

    def _end(self, flow: _Open) -> None:
        self._flows.pop(flow.key)
        self.statistics.open -= 1
        flow.way.close()

    async def _carry(self, node: str, link: "_Link") -> None:
        """Hold the stream to a node while it has flows."""
        try:
            stream = await self._open_stream(node, Flows(1), b"")
            try:
                with link.scope:
                    await link.words.run(stream)
            finally:
                await streams.reset(stream)
        except* (UnreachableError, DeniedError, ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as errors:
            self._log.debug(f"datagrams to {node} are lost: {errors.exceptions[0]}")
            for flow in [flow for flow in self._flows.values() if flow.endpoint.node == node]:
                self._balancer.failed(flow.endpoint, trio.current_time())
        finally:
            if self._links.get(node) is link:
                del self._links[node]
            self.statistics.dropped += link.words.dropped
            for key in list(link.flows.values()):
                self.lost(key)


class _Near:
    """A flow to a pod of this node: a socket of its own, so that the pod sees one source port a client."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, data: bytes) -> None:
        try:
            self.sock.send(data)
        except OSError:  # a full buffer; what a pod refused, its reader hears too
            return

    def close(self) -> None:
        udp.close(self.sock)


class _Link:
    """The stream to another node, and its flows by number."""

    def __init__(self, datagrams: Datagrams) -> None:
        self._datagrams = datagrams
        self.words = FlowLink(self._received)
        self.scope = trio.CancelScope()
        self.flows: dict[int, Key] = {}
        self.numbers = count(1)

    def _received(self, said: Said) -> None:
        key = self.flows.get(said.flow)
        if key is None or isinstance(said, Flow):
            return  # of a flow that has ended meanwhile
        if isinstance(said, Datagram):
            self._datagrams.answer(key, said.data)
        else:
            self._datagrams.lost(key)


class _Far:
    """A flow to a pod of another node."""

    def __init__(self, link: _Link, key: Key, asked: Flow) -> None:
        self._link, self._flow = link, asked.flow
        link.flows[asked.flow] = key
        link.words.send(asked)

    def send(self, data: bytes) -> None:
        self._link.words.send(Datagram(self._flow, data))

    def close(self) -> None:
        if self._link.flows.pop(self._flow, None) is not None:
            self._link.words.send(Ended(self._flow))
        if not self._link.flows:
            self._link.scope.cancel()
