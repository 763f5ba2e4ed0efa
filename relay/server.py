"""The relay's listener, a shell: TLS, the first request of each connection, and how many connections are taken."""

import ipaddress
import ssl

import trio
import trio_websocket
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from edged.errors import ProtocolError
from edged.kit.address import Address, parse_address
from edged.kit.log import Log
from relay import http
from relay.clients import Clients
from relay.core import Relay
from relay.openings import Opening, Openings

BACKLOG = 1024  # connections that wait to be accepted: whole sites reconnect at once
REQUEST_S = 10.0  # for TLS and the head of the first request
ANSWER_S = 10.0  # for a plain HTTP answer to be taken

LOST = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio_websocket.ConnectionClosed, WebSocketProtocolError)
"""How a connection ends by the other side's doing: no fault of ours."""


async def listen(address: Address) -> list[trio.SocketListener]:
    """Listeners on `address` (:: is both families); OSError says which address cannot be had."""
    try:
        host = None if address.host == "::" else address.host
        return await trio.open_tcp_listeners(address.port, host=host, backlog=BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error


class Server:
    """Serves one relay on the listeners it is given: plain ws when `tls` is None.

    `behind_proxy`: who connects is what the last hop of X-Forwarded-For says. At most `most` connections at once.
    """

    def __init__(
        self,
        relay: Relay,
        clients: Clients,
        listeners: list[trio.SocketListener],
        tls: ssl.SSLContext | None,
        *,
        most: int,
        behind_proxy: bool = False,
        log: Log,
    ) -> None:
        self._relay = relay
        self._clients = clients
        self._listeners = listeners
        self._tls = tls
        self._most = most
        self._behind_proxy = behind_proxy
        self._log = log
        self._openings = Openings()
        self._connections = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._connection, self._listeners)
            task_status.started()

    async def _connection(self, tcp: trio.SocketStream) -> None:
        self._connections += 1
        try:
            host, port = tcp.socket.getpeername()[:2]
            with Opening(self._openings) as opening:
                await self._converse(tcp, Address(_plain(host), port), opening)
        except* LOST as lost:
            self._log.debug(f"a connection ended: {lost.exceptions[0]!r}")
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(tcp)

    async def _converse(self, tcp: trio.SocketStream, peer: Address, opening: Opening) -> None:
        """TLS, the first request, and what it asks for. Refused before TLS, which costs most, unless a proxy hides who asks."""
        if self._connections > self._most or not (self._behind_proxy or opening.begin(peer.host)):
            self._relay.statistics.refused["busy"] += 1
            return
        with trio.move_on_after(REQUEST_S) as deadline:
            stream = await self._secured(tcp)
            head = await self._head(stream)
        if deadline.cancelled_caught:
            self._relay.statistics.refused["late"] += 1
        elif head is not None and not head.websocket:
            with trio.move_on_after(ANSWER_S):
                await self._answer(stream, head)
        elif head is not None:
            observed = _forwarded(head, peer) if self._behind_proxy else peer
            if self._behind_proxy and not opening.begin(observed.host):
                self._relay.statistics.refused["busy"] += 1
                with trio.move_on_after(ANSWER_S):
                    await http.answer(stream, 503, b"too many connections\n")
            else:
                await self._clients.serve(http.Replayed(stream, head.raw), str(observed), opening)

    async def _secured(self, tcp: trio.SocketStream) -> trio.abc.Stream:
        if self._tls is None:
            return tcp
        stream = trio.SSLStream(tcp, self._tls, server_side=True, https_compatible=True)
        await stream.do_handshake()
        return stream

    async def _head(self, stream: trio.abc.Stream) -> http.Head | None:
        try:
            return await http.read_head(stream)
        except ProtocolError as error:
            self._relay.statistics.dropped["http"] += 1
            await http.answer(stream, 400, f"{error}\n".encode())
            return None

    async def _answer(self, stream: trio.abc.Stream, head: http.Head) -> None:
        path = head.path.partition("?")[0]
        if head.method != "GET":
            await http.answer(stream, 405, b"GET only\n")
        elif path == "/healthz":
            await http.answer(stream, 200, b"ok\n")
        elif path == "/metrics":
            from relay import metrics  # noqa: PLC0415  only a relay that is scraped needs the library

            await http.answer(stream, 200, metrics.render(self._relay), metrics.CONTENT_TYPE)
        else:
            await http.answer(stream, 404, b"an edged relay: connect with a WebSocket\n")


def _plain(host: str) -> str:
    """An address as a person writes it: IPv4 without the IPv6 prefix that a dual-stack socket puts before it."""
    ip = ipaddress.ip_address(host)
    return str(ip.ipv4_mapped) if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped else str(ip)


def _forwarded(head: http.Head, proxy: Address) -> Address:
    """Who the proxy says connects: the last hop of X-Forwarded-For, which it added itself; port 0 when it names none."""
    hops = ",".join(head.values("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        return Address(_plain(hops.strip("[]")), 0)
    except ValueError:
        pass
    try:
        address = parse_address(hops)
    except ValueError:
        return proxy
    return proxy if address.ip is None else Address(_plain(address.host), address.port)
