"""The receiving side of datagrams: another node's flows to pods of ours, a socket each."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import trio
from trio.abc import HalfCloseableStream

from edged.errors import ProtocolError, UnreachableError
from edged.kit.log import Log
from edged.mesh import streams, udp
from edged.mesh.flowlink import FlowLink
from edged.mesh.flows import FlowTable
from edged.mesh.permission import permitted, source
from edged.mesh.table import Table
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, Datagram, Ended, Flow, Flows, Opened, Said

SWEEP_S = 5.0  # between two looks for idle flows


@dataclass
class FlowServerStatistics:
    """Counted since the start, but for `open`, which is now. `refused_undeclared`: flows to what no service declares."""

    open: int = 0
    accepted: int = 0
    refused_undeclared: int = 0
    evicted: int = 0
    dropped: int = 0


class _Open(NamedTuple):
    """One flow: the peer's link, its number there, and the socket to the pod."""

    link: FlowLink
    flow: int
    sock: socket.socket


class FlowServer:
    """The link handler of `Flows` openings. It calls what its own table says, never what the peer says.

    All peers share one table of flows: a new one beyond its limit ends the one that was idle longest.
    """

    def __init__(self, table: Callable[[], Table], log: Log) -> None:
        self._table, self._log = table, log
        self._flows: FlowTable[tuple[FlowLink, int], _Open] = FlowTable()
        self.statistics = FlowServerStatistics()

    async def serve(self, peer: str, opening: Flows, stream: HalfCloseableStream) -> None:
        """Carry a peer's datagrams until it ends. Closes `stream`, whatever happens."""
        try:
            await stream.send_all(framed(ANSWER.encode(Opened())))
            async with trio.open_nursery() as nursery:
                link = FlowLink(lambda said: self._received(peer, link, said, nursery))
                nursery.start_soon(self._sweep)
                try:
                    await link.run(stream)
                finally:
                    self.statistics.dropped += link.dropped
                    for each in [each for each in self._flows.values() if each.link is link]:
                        self._end(each)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError) as errors:
            self._log.debug(f"datagrams of {peer} end: {errors.exceptions[0]}")
        finally:
            await streams.reset(stream)

    def _received(self, peer: str, link: FlowLink, said: Said, nursery: trio.Nursery) -> None:
        match said:
            case Flow():
                self._open(peer, link, said, nursery)
            case Datagram():
                found = self._flows.get((link, said.flow), trio.current_time())
                if found is None:
                    link.send(Ended(said.flow, "no such flow"))
                else:
                    self._send(found, said.data)
            case Ended():
                if (found := self._flows.pop((link, said.flow))) is not None:
                    self._end(found)

    def _open(self, peer: str, link: FlowLink, asked: Flow, nursery: trio.Nursery) -> None:
        if self._flows.get((link, asked.flow), trio.current_time()) is not None:
            return
        endpoint = permitted(self._table(), peer, asked)
        if endpoint is None:
            self.statistics.refused_undeclared += 1
            what = f"{asked.namespace}/{asked.service}:{asked.port}/UDP at pod {asked.pod}"
            self._log.debug(f"refused {peer}'s datagrams to {what}: no ready pod of ours answers for that")
            link.send(Ended(asked.flow, "no ready pod of this node answers for this port of this service"))
            return
        try:
            where = source(self._table(), peer, asked, endpoint)
            opened = _Open(link, asked.flow, udp.connected(endpoint.ip, endpoint.port, where))
        except UnreachableError as error:
            link.send(Ended(asked.flow, str(error)))
            return
        self.statistics.accepted += 1
        self.statistics.open += 1
        if (oldest := self._flows.add((link, asked.flow), opened, trio.current_time())) is not None:
            self.statistics.evicted += 1
            self._end(oldest)
        nursery.start_soon(self._answers, opened)

    async def _answers(self, opened: _Open) -> None:
        def answered(data: bytes, _: object) -> None:
            self._flows.get((opened.link, opened.flow), trio.current_time())
            opened.link.send(Datagram(opened.flow, data))

        await udp.receive(opened.sock, answered)
        if self._flows.pop((opened.link, opened.flow)) is not None:  # the pod refused
            self._end(opened, "connection refused")

    def _send(self, opened: _Open, data: bytes) -> None:
        try:
            opened.sock.send(data)
        except OSError:  # a full buffer, or the pod refused an earlier one, which its reader hears too
            self.statistics.dropped += 1

    def _end(self, opened: _Open, reason: str = "") -> None:
        self._flows.pop((opened.link, opened.flow))
        self.statistics.open -= 1
        udp.close(opened.sock)
        opened.link.send(Ended(opened.flow, reason))

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            for each in self._flows.expired(trio.current_time()):
                self._end(each)
