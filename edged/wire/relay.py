"""What a node and a relay say to each other over a WebSocket.

Each binary WebSocket frame is a list of messages: those that wait together travel together. The relay speaks first:

    relay: Challenge        node: Prove        relay: Welcome, Presence...   or Refused, and closes
    node: Forward...        relay: Deliver..., Presence..., Absence...
    node: Allot             relay: Allotted, to both nodes

The payload of Forward and Deliver are datagrams between two nodes that the relay cannot read. A node hears of all nodes of
its group, and of the few of other groups to whom the relay introduces it; it may forward to these and no others. `group` is
the other node's, "" when that is the receiver's own (in Forward and Allot, the sender's).

The same datagrams go faster by UDP, where that passes: a port of the relay, allotted to the two nodes, hands what comes from
one of them to the other. What is said there is in relayudp.py.
"""

from typing import Annotated, Any

from msgspec import Meta

from edged.wire.codec import VERSION, Codec, Message

SUBPROTOCOL = "edged-relay"
NONCE = 32  # bytes
MAX_DATAGRAM = 65535  # bytes
MAX_WS_FRAME = 256 << 10  # bytes of one WebSocket message: some 170 datagrams of 1,500 bytes
PROOF_CONTEXT = b"edged relay proof v1\x00"
UDP_KEY = 32  # bytes

Port = Annotated[int, Meta(ge=0, le=65535)]


class Challenge(Message, frozen=True):
    """Prove your key over `nonce`. `version` is the newest that this relay speaks."""

    version: int
    nonce: bytes


class Prove(Message, frozen=True):
    """`signature` (ECDSA P-256, SHA-256, DER) by the key of `certificate` (DER) over PROOF_CONTEXT, nonce, audience.

    `audience` is the host that the node dialled: a proof made for one relay is worth nothing at another.
    """

    version: int
    certificate: bytes
    audience: str
    signature: bytes


class Welcome(Message, frozen=True):
    """You are `node`; your packets came from `observed` ("address:port", behind a proxy the one it reports).

    `udp` are the relay's ports for questions about addresses, on the host of this WebSocket: none when it has no UDP, two
    that a node may learn whether its NAT treats all destinations alike. `udp_key` (UDP_KEY bytes, as secret as this message)
    authenticates what is said there in `session`.
    """

    version: int
    node: str
    observed: str
    session: int = 0
    udp: list[Port] = []
    udp_key: bytes = b""


class Refused(Message, frozen=True):
    """Why the relay closes: a version, a certificate, a proof, or a newer connection of the same node."""

    reason: str


class Presence(Message, frozen=True):
    """A node of your group is connected to this relay, or one of another that you may reach. `session` differs each time."""

    node: str
    session: int
    group: str = ""


class Absence(Message, frozen=True):
    """A node is connected no more, or no longer one of the few of its group that you may reach."""

    node: str
    group: str = ""


class Forward(Message, frozen=True):
    """Datagrams for another node."""

    to: str
    datagrams: list[bytes]
    group: str = ""


class Deliver(Message, frozen=True):
    """Datagrams from another node."""

    sender: str
    datagrams: list[bytes]
    group: str = ""


class Allot(Message, frozen=True):
    """Let the sender's datagrams with another node go by UDP. The same port is told again when the two have one already."""

    node: str
    group: str = ""


class Allotted(Message, frozen=True):
    """Between the receiver and `node` there is this UDP port now, on the host of this WebSocket; 0: none, or none any more."""

    node: str
    port: Port
    group: str = ""


FromRelay = Challenge | Welcome | Refused | Presence | Absence | Deliver | Allotted
FromNode = Prove | Forward | Allot

FROM_RELAY: Codec[list[FromRelay]] = Codec(list[FromRelay], MAX_WS_FRAME)
FROM_NODE: Codec[list[FromNode]] = Codec(list[FromNode], MAX_WS_FRAME)


def proof_input(nonce: bytes, audience: str) -> bytes:
    """The bytes that a node signs to prove its key to a relay."""
    return PROOF_CONTEXT + nonce + audience.encode()


def version_refusal(version: Any) -> str:
    """The reason to refuse a version."""
    return f"protocol version {version} is not spoken here, version {VERSION} is"
