"""What is found when somebody asks what the network lets this node do; see netcheck.py, and `edged netcheck`."""

from collections.abc import Iterable, Sequence

import msgspec

from edged.kit.address import Address

OFF = "off"  # the port mapping: by configuration, or because links are on loopback


class RelayCheck(msgspec.Struct, frozen=True):
    """A relay that may be used; `connected`: it takes us. `error` says why no TCP reaches it, or why it does not take us."""

    url: str
    connected: bool
    latency_ms: float | None = None
    udp_ms: float | None = None
    error: str = ""


class NetCheck(msgspec.Struct, frozen=True):
    """`udp`: whether it reaches the relay and back; None when no relay that speaks it takes us.

    `nat`: `open` none, `easy` one mapping for all destinations, `hard` another for each, `blocked`, or `unknown`. `addresses`
    are the machine's own, `observed` those that the relay sees. `ipv6`: whether there is an address for the world, and our
    socket speaks it. `port_mapping`: what the gateway maps for us, in words.
    """

    udp: bool | None
    nat: str
    addresses: list[str]
    observed: list[str]
    ipv6: bool
    port_mapping: str
    relays: list[RelayCheck]

    @property
    def troubles(self) -> list[str]:
        """What keeps links from their best way."""
        found = []
        if not any(relay.connected for relay in self.relays):
            found.append("no relay takes this node" if self.relays else "no relay is configured")
        if self.udp is False:
            found.append("UDP is blocked: links go through the relay's WebSocket, slower")
        return found


def nat_of(own: Iterable[str], observed: Sequence[Address], udp: bool | None) -> str:
    """What is between the machine's own addresses and those that the relay sees."""
    if not observed:
        return "blocked" if udp is False else "unknown"
    if len(observed) > 1:
        return "hard"
    return "open" if observed[0].host in own or observed[0].loopback else "easy"
