"""What two nodes say to each other on a link.

A link is a QUIC connection. The server's certificate is proved by TLS; on the client's first stream, of frames,

    client: Hello           server: Nonce      client: Proof             server: Accepted
    both: Candidates whenever their addresses or wishes change, Credit as their readers read, Call to be pinged directly

Whoever refuses closes the connection and puts the reason into the close. No other stream is opened before Accepted.

QUIC opens its windows as bytes arrive, not as they are read, so each stream has a credit of its own: a sender may have
STREAM_WINDOW bytes of a stream on the way or unread, and Credit lets it go on. One slow reader stalls its stream alone.

Every later stream starts with one frame that says what it is for (an opening) and is answered with one frame, Opened or
Refused; after that it belongs to its room: `Sync` streams carry frames of wire.sync, `Flows` frames of FLOWS,
`Tunnel`, `Logs`, `DeviceCall` and `DeviceHistory` plain bytes, `Deliver` the body of a message. Who opens it may go on
speaking before the answer has come.
"""

from edged.wire.codec import Codec, Message

ALPN = "edged/1"
PROOF_CONTEXT = b"edged link proof v1\x00"
MAX_CONTROL = 16 << 10  # bytes of a control frame: certificates are under 2 kB, 16 candidates under 1 kB
MAX_CANDIDATES = 16
STREAM_WINDOW = 128 << 10  # bytes of a stream that may wait unread before its first Credit: a thousand take 128 MiB


class Hello(Message, frozen=True):
    """The client's first word: the protocol version that it speaks."""

    version: int


class Nonce(Message, frozen=True):
    """Prove your key over these 32 bytes."""

    version: int
    nonce: bytes


class Proof(Message, frozen=True):
    """`signature` by the key of `certificate` (DER) over PROOF_CONTEXT, the nonce and SHA-256 of the server's certificate."""

    certificate: bytes
    signature: bytes


class Accepted(Message, frozen=True):
    """You are who you say. `probe_key` (32 bytes) authenticates this link's probes."""

    probe_key: bytes


class Candidates(Message, frozen=True):
    """Addresses ("host:port") at which the sender's UDP socket may be reached directly; at most MAX_CANDIDATES.

    `wanted`: whether the sender wants to keep this link. One that neither end wants is closed when nothing uses it.
    """

    addresses: list[str]
    wanted: bool = True


class Call(Message, frozen=True):
    """The sender has opened its NATs for the addresses that the receiver told: ping the sender's now.

    `heard` counts the Candidates that it had heard by then: a receiver that has told more waits for the next call. `ports`: the
    sender's NAT draws a new port for each flow, and so many now lead in from the receiver's addresses.
    """

    heard: int
    ports: int = 0


class Credit(Message, frozen=True):
    """The receiver takes up to `upto` bytes of `stream` (its QUIC id) in all, counted from its beginning."""

    stream: int
    upto: int


Control = Hello | Nonce | Proof | Accepted | Candidates | Call | Credit
CONTROL: Codec[Control] = Codec(Control, MAX_CONTROL)


class Ping(Message, frozen=True):
    """Is anybody there? The answer is Opened and the end of the stream: `edged ping` measures how long that takes."""


class Sync(Message, frozen=True):
    """A stream that replicates: frames of wire.sync both ways."""

    version: int


class Tunnel(Message, frozen=True):
    """A connection to `port` of service `namespace/service`, answered by pod `pod` of the receiving node.

    With `service` "" it is a connection to `port` of that pod itself, called by its address. `caller` is the namespace of the
    pod that calls, as its node says, and `source` that pod's address, which the called one is to see; "" when no pod calls.
    """

    namespace: str
    service: str
    port: int
    pod: str
    caller: str = ""
    source: str = ""


class Flows(Message, frozen=True):
    """A stream of datagrams to and from pods of the receiving node: frames of FLOWS both ways. The opener names the flows."""

    version: int


class Flow(Message, frozen=True):
    """From here on `flow` is a client of `port` (UDP) of service `namespace/service`, answered by pod `pod`. As in Tunnel."""

    flow: int
    namespace: str
    service: str
    port: int
    pod: str
    caller: str = ""
    source: str = ""


class Datagram(Message, frozen=True):
    """One datagram of a flow, in either direction."""

    flow: int
    data: bytes


class Ended(Message, frozen=True):
    """A flow is no more, or never was; `reason` is empty when it was idle."""

    flow: int
    reason: str = ""


Said = Flow | Datagram | Ended
MAX_DATAGRAM = 65507  # bytes: what UDP over IPv4 carries
MAX_FLOWS_FRAME = MAX_DATAGRAM + 64  # its name, its flow and the lengths of both
FLOWS: Codec[Said] = Codec(Said, MAX_FLOWS_FRAME)


class Logs(Message, frozen=True):
    """What a container of pod `namespace/pod` on the receiving node printed, as plain text; see api for the options."""

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int = -1
    since: float = 0.0
    limit: int = -1


class DeviceCall(Message, frozen=True):
    """Call `method` of device `namespace/device`, which the receiving node serves; the answer is JSON (device/doors.py)."""

    namespace: str
    device: str
    method: str
    arguments: list[str] = []


class DeviceHistory(Message, frozen=True):
    """What device `namespace/device` said on the receiving node, of one property or all (""), as lines of JSON.

    `since` and `until` are milliseconds since 1970; the newest `limit` readings of that time, the oldest first.
    """

    namespace: str
    device: str
    property: str
    since: int
    until: int
    limit: int


class Deliver(Message, frozen=True):
    """What came in for rule `namespace/rule`, with a target on the receiving node; the body follows, to the stream's end.

    `rest` is what the caller's path says beyond the rule's. The answer is a frame of DELIVERED and a body.
    """

    namespace: str
    rule: str
    method: str
    rest: str
    content_type: str


class Delivered(Message, frozen=True):
    """What became of it, as a status of HTTP."""

    code: int
    content_type: str


DELIVERED: Codec[Delivered] = Codec(Delivered, MAX_CONTROL)


class Opened(Message, frozen=True):
    """The stream is what was asked for, from here on."""


class Refused(Message, frozen=True):
    """Why the stream is not what was asked for."""

    reason: str


Opening = Ping | Sync | Tunnel | Flows | Logs | DeviceCall | DeviceHistory | Deliver
OPENING: Codec[Opening] = Codec(Opening, MAX_CONTROL)
Answer = Opened | Refused
ANSWER: Codec[Answer] = Codec(Answer, MAX_CONTROL)


def proof_input(nonce: bytes, server_certificate_sha256: bytes) -> bytes:
    """The bytes that a client signs to prove its key to the server of a link."""
    return PROOF_CONTEXT + nonce + server_certificate_sha256
