"""What the network lets this node do, for `edged netcheck`: asked of the running hub, or without a daemon of `Alone`."""

import secrets
from collections.abc import Sequence
from ipaddress import IPv6Address
from random import Random
from urllib.parse import SplitResult

import msgspec
import trio

from edged.errors import DeniedError, ProtocolError
from edged.hub.findings import OFF, NetCheck, RelayCheck, nat_of
from edged.hub.forwarding import Forwarding
from edged.hub.mapper import PortMapper
from edged.hub.relaydial import RelayDial
from edged.hub.relaylink import LOST, RelayLink, text_of
from edged.hub.relayspeech import Told, Welcomed
from edged.identity.node import Identity
from edged.kit.address import Address
from edged.kit.interfaces import own_addresses
from edged.kit.log import Log
from edged.kit.proxy import Proxy
from edged.kit.udp import UdpSocket
from edged.wire.relayudp import is_ours

LATENCY_S = 3.0  # for TCP to a relay, and for a gateway, by which all is done in time for who asks
RELAY_S = 4.0  # for a relay to take a node that is not running


async def look(udp: UdpSocket, relay: RelayLink, forwarding: Forwarding, mapper: PortMapper | None) -> NetCheck:
    """Ask the network now; takes as long as the slowest answer, at most some seconds."""
    checks: list[RelayCheck | None] = [None] * len(relay.urls)

    async def check(at: int, url: SplitResult) -> None:
        checks[at] = await _check(relay.dialling, relay, url)

    async with trio.open_nursery() as nursery:
        for at, url in enumerate(relay.urls):
            nursery.start_soon(check, at, url)
        if mapper is not None:
            nursery.start_soon(_settled, mapper)
        await forwarding.inquire()
    own = own_addresses(ipv6=True)
    works = bool(forwarding.observed) if forwarding.asks else None
    rtt = forwarding.rtt
    return NetCheck(
        udp=works,
        nat=nat_of(own, forwarding.observed, works),
        addresses=own,
        observed=[str(address) for address in forwarding.observed],
        ipv6=udp.ipv6 and any(isinstance(ip := Address(host, 0).ip, IPv6Address) and ip.is_global for host in own),
        port_mapping=OFF if mapper is None else mapper.text,
        relays=[
            msgspec.structs.replace(found, udp_ms=None if rtt is None else rtt * 1000) if found.connected else found
            for found in checks
            if found is not None
        ],
    )


class Alone:
    """Stands in for a hub that does not run: the node's identity, its socket and a relay, for as long as `look` takes."""

    def __init__(
        self,
        identity: Identity,
        relays: Sequence[str],
        listen: Address,
        *,
        proxy: Proxy | None,
        maps: bool,
        insecure: bool = False,
        random: Random,
        log: Log,
    ) -> None:
        """UnreachableError when the socket is taken, InvalidError when a relay's URL cannot be used."""
        self._udp = UdpSocket(listen)
        self._welcomed = trio.Event()
        self._relay = RelayLink(
            relays,
            identity=identity,
            told=self._told,
            lost=self._lost,
            random=random,
            log=log,
            insecure=insecure,
            proxy=proxy,
            ipv6=self._udp.ipv6,
        )
        self._forwarding = Forwarding(
            self._udp,
            self._relay,
            wanting=tuple,
            observed=lambda: None,
            forwards=lambda _node, _address: None,
            random=random,
        )
        self._mapper: PortMapper | None = None
        if maps and not self._udp.address.loopback:
            self._mapper = PortMapper(self._udp.address, changed=lambda: None, token=secrets.token_bytes, log=log)

    async def look(self) -> NetCheck:
        """Wait for a relay for a while, and look."""
        try:
            async with trio.open_nursery() as nursery:
                for service in (self._relay.run, self._forwarding.run, self._read):
                    nursery.start_soon(service)
                if self._mapper is not None:
                    nursery.start_soon(self._mapper.run)
                if self._relay.urls:
                    with trio.move_on_after(RELAY_S):
                        await self._welcomed.wait()
                found = await look(self._udp, self._relay, self._forwarding, self._mapper)
                nursery.cancel_scope.cancel()
        finally:
            self._udp.close()
        return found

    def _told(self, message: Told) -> None:
        if isinstance(message, Welcomed):
            self._forwarding.welcomed(message)
            self._welcomed.set()

    def _lost(self) -> None:
        self._forwarding.lost()

    async def _read(self) -> None:
        while True:
            await self._udp.readable()
            while (received := self._udp.receive()) is not None:
                data, _, source = received
                try:
                    if is_ours(data):
                        self._forwarding.receive(data, source, trio.current_time())
                except ProtocolError:
                    continue  # an answer to a question of before, or of nobody's


async def _settled(mapper: PortMapper) -> None:
    with trio.move_on_after(LATENCY_S):
        await mapper.settled()


async def _check(dialling: RelayDial, relay: RelayLink, url: SplitResult) -> RelayCheck:
    connected, error = relay.url == url.geturl(), ""
    latency: float | None = None
    try:
        with trio.fail_after(LATENCY_S):
            latency = await dialling.latency(url)
    except (DeniedError, *LOST) as lost:
        error = text_of(lost)
    if not (connected or error) and relay.reason.startswith(url.geturl()):
        error = relay.reason.removeprefix(f"{url.geturl()}: ")
    return RelayCheck(url.geturl(), connected, None if latency is None else latency * 1000, error=error)
