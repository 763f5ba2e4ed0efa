"""The connection to a relay: TCP, straight or through an HTTP proxy, and TLS on top when its URL is wss."""

import os
import ssl
from urllib.parse import SplitResult

import trio

from edged.errors import ProtocolError
from edged.hub.connect import Connect
from edged.identity.node import Identity
from edged.kit.address import Address
from edged.kit.proxy import Proxy, from_environment
from edged.kit.tcp import Stream, secured

RECEIVE = 4096  # bytes asked of a proxy at once
RESOLVE_S = 2.0  # for the relay's IP address: without it there is no UDP, and all else goes on


class RelayDial:
    """Dials relays for `identity`; `proxy` None: as the environment says. `ipv6`: whether our UDP socket speaks that, too."""

    def __init__(self, identity: Identity, *, proxy: Proxy | None, ipv6: bool) -> None:
        self._identity, self._proxy, self._ipv6 = identity, proxy, ipv6

    async def dial(self, url: SplitResult) -> Stream:
        """A connection to the relay at `url`.

        OSError and trio.BrokenResourceError when it cannot be had; DeniedError and ProtocolError are the proxy's.
        """
        address = address_of(url)
        proxy = self._proxy or _from_environment(address)
        if url.scheme == "ws":
            return await _connected(address, proxy)
        # The public authorities, 2.6 MB, are loaded only for a relay that the fleet's own does not vouch for.
        context = ssl.create_default_context(cadata=self._identity.authority_pem.decode())
        try:
            return await secured(await _connected(address, proxy), context, address.host)
        except trio.BrokenResourceError as error:
            if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise
        context.load_default_certs()
        return await secured(await _connected(address, proxy), context, address.host)

    async def latency(self, url: SplitResult) -> float:
        """Seconds to the relay at `url` and back, by TCP, a proxy's part included. Raises as `dial` does."""
        began = trio.current_time()
        address = address_of(url)
        stream = await _connected(address, self._proxy or _from_environment(address))
        took = trio.current_time() - began
        await trio.aclose_forcefully(stream)
        return took

    async def udp_host(self, url: SplitResult, stream: Stream) -> str | None:
        """The IP address to which our UDP socket may speak, None when there is none: where the connection leads.

        Where that is a proxy, or of a family that our socket does not speak, DNS is asked.
        """
        address = address_of(url)
        if (self._proxy or _from_environment(address)) is None:
            tcp = stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
            host = str(tcp.socket.getpeername()[0])
            if self._ipv6 or ":" not in host:
                return host
        family = trio.socket.AF_UNSPEC if self._ipv6 else trio.socket.AF_INET
        with trio.move_on_after(RESOLVE_S):
            try:
                answers = await trio.socket.getaddrinfo(*address, family=family, type=trio.socket.SOCK_DGRAM)
            except OSError:
                return None
            return str(answers[0][4][0])
        return None


def address_of(url: SplitResult) -> Address:
    """Where the relay at `url` listens."""
    return Address(url.hostname or "", url.port or (443 if url.scheme == "wss" else 80))


def _from_environment(address: Address) -> Proxy | None:
    try:
        return from_environment(os.environ, address)
    except ValueError as error:
        raise ProtocolError(str(error)) from error


async def _connected(address: Address, proxy: Proxy | None) -> trio.SocketStream:
    if proxy is None:
        return await trio.open_tcp_stream(*address)
    try:
        stream = await trio.open_tcp_stream(*proxy.address)
    except OSError as error:
        raise ProtocolError(f"proxy {proxy} ({proxy.source}): {error.strerror or error}") from error
    try:
        connect = Connect(proxy, address)
        await stream.send_all(connect.request)
        while not connect.receive(bytes(await stream.receive_some(RECEIVE))):
            pass
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream
