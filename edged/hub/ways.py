"""The ways of a link by UDP, best first: what each is called, and what is known of it."""

import ipaddress
import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from edged.hub.probe import NARROW_SIZE, PING_SIZE, PONG_SIZE
from edged.kit.address import Address

LAN: Final = "lan"
DIRECT: Final = "direct"
RELAY_UDP: Final = "relay-udp"
RELAY: Final = "relay-ws"
Kind = Literal["lan", "direct", "relay-udp"]
RANK: Final[dict[Kind, int]] = {LAN: 0, DIRECT: 1, RELAY_UDP: 2}  # a lower one is better, whatever its latency

TRUST_S = 6.5  # an answered ping says for so long that a way may be used
FAST_S = 0.005  # of a direct way: nothing better is looked for
GAIN = 0.9  # of its latency, and at least
TRIES = 3  # pings that are lost before a size is taken to be too large (RFC 8899, section 5.1.2: MAX_PROBES)
GAIN_S = 0.001  # this less: smaller differences between ways of one rank are noise
LOCAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),  # RFC 1918, 3927, 1122
        *("fc00::/7", "fe80::/10", "::1/128"),  # RFC 4193, 4291
    )
)


class From(NamedTuple):
    """An address reached from a further socket of ours (sockets.py), the one of that number, instead of the node's one."""

    host: str
    port: int
    socket: int


Spot = Address | From
Route = Spot | Literal["relay-ws"]


def kind_of(spot: Spot) -> Kind:
    """`lan` or `direct`: a private, link-local or loopback address that answers is of a network that we are in."""
    ip = ipaddress.ip_address(spot.host)
    return LAN if any(ip in network for network in LOCAL if network.version == ip.version) else DIRECT


@dataclass(slots=True, eq=False)
class Way:
    """A spot that leads, or may lead, to the peer. A `kept` one is never pushed out by others.

    `met`: it has answered a small ping. `answered` is when its last answered larger ping was sent, `pinged` when the last one
    was; `vain` counts those since that were not answered (yet). `narrow`: it carries datagrams of NARROW_SIZE, not full ones,
    as far as pings say. `sizing`: it is being found out.
    """

    spot: Spot
    kind: Kind
    kept: bool
    met: bool = False
    vain: int = 0
    narrow: bool = False
    sizing: bool = False
    pinged: float = -math.inf
    answered: float = -math.inf
    rtt: float = math.inf

    @property
    def rank(self) -> int:
        """Lower is better."""
        return RANK[self.kind]

    @property
    def fast(self) -> bool:
        """Whether nothing better need be looked for."""
        return not self.narrow and self._fast

    @property
    def _fast(self) -> bool:
        return self.kind == LAN or (self.kind == DIRECT and self.rtt <= FAST_S)

    @property
    def size(self) -> int:
        """Of the next ping: small until it is met, full, and narrow when TRIES full ones were in vain."""
        return PONG_SIZE if not self.met else PING_SIZE if self.vain < TRIES else NARROW_SIZE

    def asked(self, now: float) -> None:
        """A ping of this size was sent."""
        self.pinged = now
        self.vain += self.met
        if self.vain > 2 * TRIES:  # neither goes through: nobody is there
            self.forget()

    def forget(self) -> None:
        """What was known of it holds no more."""
        self.met = self.sizing = False
        self.vain, self.answered = 0, -math.inf

    def meet(self) -> None:
        """It leads to the peer: find out how wide it is."""
        self.met = self.sizing = True
        self.vain = 0

    def fits(self, size: int, asked: float) -> None:
        """A ping of this size, sent then, was answered."""
        self.narrow, self.sizing = size < PING_SIZE, False
        self.vain = TRIES if self.narrow else 0
        self.answered = asked

    def trusted(self, now: float) -> bool:
        """Whether it may be used, as far as pings say."""
        return now < self.answered + TRUST_S

    def beats(self, other: "Way") -> bool:
        """Whether it is worth leaving `other` for."""
        if self.rank != other.rank:
            return self.rank < other.rank
        return self.rtt < min(other.rtt * GAIN, other.rtt - GAIN_S)
