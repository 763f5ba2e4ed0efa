"""The receiving side of a call: another node asks for a pod of ours, and gets it when our own table says so."""

from collections.abc import Callable
from dataclasses import dataclass

import trio
from trio.abc import HalfCloseableStream

from edged.errors import UnreachableError
from edged.kit.log import Log
from edged.mesh import streams
from edged.mesh.permission import permitted, source
from edged.mesh.table import Endpoint, Table
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, Answer, Opened, Refused, Tunnel

OPENED = framed(ANSWER.encode(Opened()))
MAX_TUNNELS = 1024  # at a time, from all peers: as many as the proxy serves; one more is refused with a reason


@dataclass
class TunnelStatistics:
    """Counted since the start, but for `open`, which is now. `refused_undeclared`: asks for what no service declares."""

    open: int = 0
    accepted: int = 0
    refused_undeclared: int = 0
    refused_full: int = 0
    failed_dials: int = 0


class TunnelServer:
    """The link handler of `Tunnel` openings. It dials what its own table says, never what the peer says."""

    def __init__(self, table: Callable[[], Table], log: Log) -> None:
        self._table, self._log = table, log
        self.statistics = TunnelStatistics()

    async def serve(self, peer: str, opening: Tunnel, stream: HalfCloseableStream) -> None:
        """Connect `stream` to the pod that `opening` names until both are done. Closes `stream`, whatever happens."""
        self.statistics.open += 1
        try:
            await self._serve(peer, opening, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._log.debug(f"{peer} left before its call to {opening.namespace}/{opening.service} was answered")
        finally:
            self.statistics.open -= 1
            await streams.reset(stream)

    async def _serve(self, peer: str, opening: Tunnel, stream: HalfCloseableStream) -> None:
        endpoint = permitted(self._table(), peer, opening)
        if endpoint is None:
            self.statistics.refused_undeclared += 1
            asked = f"{opening.namespace}/{opening.service}:{opening.port} at pod {opening.pod}"
            self._log.debug(f"refused {peer}'s call to {asked}: no ready pod of ours answers it for that")
            await _answer(stream, Refused(f"no ready pod {opening.pod!r} of this node answers for this port of this service"))
        elif self.statistics.open > MAX_TUNNELS:
            self.statistics.refused_full += 1
            await _answer(stream, Refused(f"{MAX_TUNNELS} calls from other nodes are open, no more are taken"))
        else:
            await self._connect(endpoint, source(self._table(), peer, opening, endpoint), stream)

    async def _connect(self, endpoint: Endpoint, source: str, stream: HalfCloseableStream) -> None:
        try:
            pod = await streams.connect(endpoint.ip, endpoint.port, source=source)
        except UnreachableError as error:
            self.statistics.failed_dials += 1
            await _answer(stream, Refused(f"pod {endpoint.pod}: {error}"))
            return
        self.statistics.accepted += 1
        try:
            await streams.say(stream, OPENED, answered=True)
            await streams.splice(pod, stream)
        finally:
            await streams.reset(pod)


async def _answer(stream: HalfCloseableStream, answer: Answer) -> None:
    """The one frame that says no; then the stream ends."""
    await stream.send_all(framed(ANSWER.encode(answer)))
    await stream.send_eof()
    await stream.aclose()
