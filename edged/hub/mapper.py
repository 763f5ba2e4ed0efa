"""Talks to the default gateway so that it maps our UDP port, a shell around `portmapping.PortMapping`."""

import socket
from collections.abc import Callable
from contextlib import suppress

import h11
import trio

from edged.errors import ProtocolError
from edged.hub import pcp, upnp
from edged.hub.portmapping import Datagram, PortMapping
from edged.hub.ways import LAN, kind_of
from edged.kit.address import Address
from edged.kit.http import exchange
from edged.kit.interfaces import default_gateway
from edged.kit.log import Log

RECEIVE = 4096  # bytes taken of a datagram, and of the head of an answer by HTTP: they are shorter
CALL_S = 3.0  # for an HTTP request; a gateway's processor is slow
RELEASE_S = 1.0  # for taking leave of the gateway when the node stops
TTL = 2  # of a search by multicast: UPnP Device Architecture 1.1, section 1.3.2


class PortMapper:
    """Of the UDP socket at `bound`; `changed` is called when the mapped address is another one.

    Only the gateway's own address is spoken to and listened to.
    """

    def __init__(self, bound: Address, *, changed: Callable[[], None], token: Callable[[int], bytes], log: Log) -> None:
        self._bound, self._changed, self._log = bound, changed, log
        self._core = PortMapping(bound.port, token)
        self._known: Address | None = None
        self._where: tuple[str | None, str] = (None, "")  # the gateway, and our address towards it
        self._moved = trio.CancelScope()
        self._sleep = trio.CancelScope()
        self._settled = trio.Event()
        self._udp: socket.socket | None = None
        self._ssdp: socket.socket | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def mapped(self) -> Address | None:
        """The address at which others reach us."""
        return self._known

    @property
    def text(self) -> str:
        """What there is, for a person."""
        return self._core.text

    async def settled(self) -> None:
        """Wait until the gateway has answered, or will not."""
        await self._settled.wait()

    def look(self) -> None:
        """The default gateway may be another one, or our address."""
        if self._gateway() != self._where:
            self._moved.cancel()

    async def run(self) -> None:
        """Keep the port mapped until cancelled; then give it back."""
        while True:
            with trio.CancelScope() as self._moved:
                self._where = self._gateway()
                try:
                    await self._keep_mapped(*self._where)
                except OSError as error:  # the way to the gateway has just gone
                    self._log.debug(f"port mapping: {error}")
                    self._where = (None, "")  # the next `look` finds another way, or this one again
                    await trio.sleep_forever()

    async def _keep_mapped(self, host: str | None, own: str) -> None:
        self._core.gateway(host, own, trio.current_time())
        if host is None:
            self._act()
            await trio.sleep_forever()
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with socket.socket(socket.AF_INET, kind) as self._udp, socket.socket(socket.AF_INET, kind) as self._ssdp:
            self._udp.bind((own, 0))
            self._udp.connect((host, pcp.PORT))  # nobody else is heard here
            self._ssdp.bind((own, 0))
            self._ssdp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
            self._ssdp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._hear, self._udp, self._core.receive)
                    self._nursery.start_soon(self._hear, self._ssdp, self._core.found)
                    self._nursery.start_soon(self._keep_time)
            finally:
                self._nursery = None
                if not self._moved.cancel_called:
                    with trio.move_on_after(RELEASE_S, shield=True):
                        await self._release(host)

    async def _hear(self, udp: socket.socket, take: Callable[[bytes, float], None]) -> None:
        while True:
            await trio.lowlevel.wait_readable(udp)
            with suppress(OSError, ProtocolError):  # nobody listens there, or what came answers nothing
                data, source = udp.recvfrom(RECEIVE)
                if source[0] == self._where[0]:
                    take(data, trio.current_time())
            self._act()

    async def _keep_time(self) -> None:
        while True:
            self._core.tick(trio.current_time())
            self._act()
            with trio.CancelScope(deadline=self._core.deadline()) as self._sleep:
                await trio.sleep_forever()

    def _act(self) -> None:
        """Say what there is to say, and tell what has come of it."""
        for message in self._core.outgoing():
            if isinstance(message, Datagram):
                self._send(message)
            elif self._nursery is not None:
                self._nursery.start_soon(self._ask, message)
        self._sleep.deadline = self._core.deadline()
        if self._core.settled:
            self._settled.set()
        if self._core.mapped != self._known:
            self._known = self._core.mapped
            self._log.info(f"port mapping: {self._core.text}")
            self._changed()

    def _send(self, message: Datagram) -> None:
        host = self._where[0]
        with suppress(OSError):  # it is sent again
            if not message.search and self._udp is not None:
                self._udp.send(message.data)
            elif self._ssdp is not None and host is not None:
                self._ssdp.sendto(message.data, upnp.GROUP)
                self._ssdp.sendto(message.data, (host, upnp.GROUP.port))

    async def _ask(self, call: upnp.Call) -> None:
        host = self._where[0] or ""
        try:
            with trio.fail_after(CALL_S):
                status, body = await fetched(host, call)
        except (OSError, ProtocolError, trio.BrokenResourceError, trio.TooSlowError) as error:
            self._log.debug(f"gateway {host}: {error}")
            self._core.unanswered(call, trio.current_time())
        else:
            self._core.answered(call, status, body, trio.current_time())
        self._act()

    async def _release(self, host: str) -> None:
        for message in self._core.release():
            if isinstance(message, Datagram):
                self._send(message)
            else:
                with suppress(OSError, ProtocolError, trio.BrokenResourceError):  # then the lease runs out by itself
                    await fetched(host, message)

    def _gateway(self) -> tuple[str | None, str]:
        """The gateway that may map for us and our address towards it; none where we have a public one."""
        host = default_gateway()
        if host is None:
            return None, ""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            try:
                trial.connect((host, pcp.PORT))  # sends nothing
            except OSError:
                return None, ""
            own = str(trial.getsockname()[0])
        ours = self._bound.ip is None or self._bound.ip.is_unspecified or self._bound.host == own
        return (host, own) if ours and kind_of(Address(own, 0)) == LAN else (None, "")


async def fetched(host: str, call: upnp.Call) -> tuple[int, bytes]:
    """The status and body of the answer by HTTP. OSError, trio.BrokenResourceError, ProtocolError when there is none."""
    headers = [("Host", f"{host}:{call.place.port}"), ("Connection", "close")]
    if call.action:
        length = str(len(call.body))
        headers += [("SOAPACTION", call.action), ("Content-Type", 'text/xml; charset="utf-8"'), ("Content-Length", length)]
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=RECEIVE)
    request = h11.Request(method="POST" if call.action else "GET", target=call.place.path, headers=headers)
    async with await trio.open_tcp_stream(host, call.place.port) as stream:
        try:
            head, body = await exchange(stream, http, request, call.body, upnp.MAX_BODY)
        except h11.RemoteProtocolError as error:
            raise ProtocolError(f"the gateway speaks no HTTP: {error}") from error
    if len(body) > upnp.MAX_BODY:
        raise ProtocolError("the gateway says too much")
    return head.status_code, body
