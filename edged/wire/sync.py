"""What is replicated, and how two nodes say it: registers, version vectors, deltas, pulses.

An object is two registers, `body` and `status`, because they have different writers. Each carries who wrote it (origin),
the origin's own number for the write (seq, from 1, no number used twice), a hybrid logical clock and the writer's
signature. Merge is last writer wins, a register at a time: commutative, associative, idempotent.

An origin is one store of one node in one scope, `site-1/gw-a:5f0c91aa`; what that store writes in the scope `*`, the fleet,
goes to every group, and its origin is `*/site-1/gw-a:5f0c91aa`: names of nodes are of one group only.
`site-1/gw-a:5f0c91aa~7` are the volatile registers of that store's seventh start: they live in memory everywhere, and a
later start's take their place.

    both, at once:      Hello, Vector
    both, always:       Certificates, Delta...   whatever the other's vector lacks, each stored before the next is read
                        Pulses                   who is alive, as soon as somebody's is news
                        Vector                   every half minute again, so that nothing stays forgotten
    with equal vectors: Digest                   of what they hold; where the digests differ, all of it once more
    when need be:       Want, Found              registers that were damaged on the disk of who wants them
                        Fresh, Standing          a copy of everything, for who was away longer than tombstones are kept
"""

import msgspec

from edged.wire.codec import MAX_FRAME, Codec, Message

BODY = "body"
STATUS = "status"
FLEET = "*"  # the scope of what every group holds
VOLATILE = "~"  # in an origin, before the number of its store's start
MAX_DELTA = 256  # registers in one delta
MAX_DELTA_BYTES = 512 << 10  # bodies in one delta; a single larger register travels alone
MAX_PULSES = 256  # in one message: a group of 100 nodes, twice
MAX_LINKED = 64  # names in a pulse: a node of a hundred keeps some six links, one of eight all seven
MAX_WANTED = 256  # places in one question
MAX_CERTIFICATES = 256  # in one message, 700 bytes each
DIGEST = 16  # bytes of a digest

Place = tuple[str, str, str, str, str]  # scope, resource, namespace, name, part


class Register(Message, frozen=True):
    """One half of an object, as its origin wrote it.

    `part` is BODY or STATUS. `uid` ties a status to the object it is about: a status of another uid is not shown.
    `clock` is a hybrid logical clock: milliseconds since 1970 times 65,536 plus a counter. `value` is JSON, or None for
    a tombstone. `signature` is the origin's over everything before it: see `signed_bytes`.
    """

    resource: str
    namespace: str
    name: str
    part: str
    uid: str
    origin: str
    seq: int
    clock: int
    value: bytes | None
    signature: bytes = b""

    def beats(self, other: "Register") -> bool:
        """Whether this one stays when both are written to the same place: the later clock; on a tie the greater origin.

        Only a store whose disk went back has two of one number; then the greater signature decides.
        """
        mine, others = (self.clock, self.origin, self.seq), (other.clock, other.origin, other.seq)
        return mine > others or (mine == others and self.signature > other.signature)

    @property
    def place(self) -> Place:
        """Where it is written: of two registers of one place, one stays."""
        return (scope_of(self.origin), self.resource, self.namespace, self.name, self.part)


def scope_of(origin: str) -> str:
    """The scope of an origin: a group's name, or FLEET."""
    return origin.partition("/")[0]


def node_of(origin: str) -> str:
    """The node that writes under an origin."""
    return origin.partition(":")[0].rpartition("/")[2]


def home_of(origin: str) -> str:
    """The group of that node."""
    return origin.partition(":")[0].rpartition("/")[0].rpartition("/")[2]


def durable(origin: str) -> str:
    """The origin of the same store's durable registers; an origin that is durable is its own."""
    return origin.partition(VOLATILE)[0]


def start_of(origin: str) -> int:
    """Which start of its store a volatile origin is of; 0 for a durable one, and for what is no number."""
    text = origin.partition(VOLATILE)[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


_SIGNED = msgspec.msgpack.Encoder()
_REGISTER_CONTEXT = b"edged register v1\x00"
_PULSE_CONTEXT = b"edged pulse v1\x00"


def signed_bytes(register: Register) -> bytes:
    """What the signature of a register is over: all of it but the signature, in MessagePack."""
    fields = (
        *(register.resource, register.namespace, register.name, register.part, register.uid),
        *(register.origin, register.seq, register.clock, register.value),
    )
    return _REGISTER_CONTEXT + _SIGNED.encode(fields)


class Hello(Message, frozen=True):
    """The first word. `wall` is the sender's clock (epoch seconds); `keys` are the ids of the certificates it has."""

    version: int
    wall: float
    keys: list[bytes]


class Vector(Message, frozen=True):
    """What the sender holds: for each origin, the number up to which it has everything.

    `floors`: for each origin, the number of its latest tombstone that was removed for its age; who has less of that origin
    may have missed a deletion, and asks for a fresh copy. `taken`: how many deltas of this stream are in it. `refused`: of
    each origin whose node has more than its quota here, the number up to which its registers are not wanted for now.
    """

    held: dict[str, int]
    floors: dict[str, int]
    taken: int
    refused: dict[str, int] = {}


class Digest(Message, frozen=True):
    """Digests of the numbers of all durable origins that both share, and of the registers that the sender holds with them.

    Of equal numbers follow equal registers, unless the disk of a node went back and numbers were used twice: that shows here.
    """

    numbers: bytes
    registers: bytes


class Certificates(Message, frozen=True):
    """Certificates (DER) of nodes whose registers follow."""

    certificates: list[bytes]


class Delta(Message, frozen=True):
    """All registers of `origin` that still stand with numbers in (since, upto], in order. Superseded ones are simply gone.

    `copy`: it is part of a copy of everything, and its registers are looked at, whatever numbers the receiver holds.
    """

    origin: str
    since: int
    upto: int
    registers: list[Register]
    copy: bool = False


class Pulse(Message, frozen=True):
    """A node says that it is alive, and for how long to believe it.

    `boot` (a hybrid logical clock) is when it started and orders its runs, `number` orders the pulses of a run. `wall` is
    its clock. `lease` is in seconds: without a newer pulse it is taken for gone after that. `claim` is the clock at which
    it took the group's lease, 0 while it does not hold it. `leaves`: it is stopping, and claims nothing any more. `linked`
    are the nodes with which it replicates: what those write it gets from them, so nobody else needs to pass it on.
    """

    node: str
    boot: int
    number: int
    wall: float
    lease: float
    claim: int = 0
    leaves: bool = False
    linked: list[str] = []
    signature: bytes = b""

    def signed_bytes(self) -> bytes:
        """What the signature is over: all of it but the signature, in MessagePack."""
        fields = (self.node, self.boot, self.number, self.wall, self.lease, self.claim, self.leaves, self.linked)
        return _PULSE_CONTEXT + _SIGNED.encode(fields)


class Pulses(Message, frozen=True):
    """Pulses that the receiver may not know; at most MAX_PULSES."""

    pulses: list[Pulse]


class Want(Message, frozen=True):
    """Send what stands in these places; at most MAX_WANTED."""

    places: list[Place]


class Found(Message, frozen=True):
    """What stands in wanted places, and the places where nothing does; an answer may come in several pieces."""

    registers: list[Register]
    missing: list[Place] = []


class Fresh(Message, frozen=True):
    """Send a delta of every durable origin from 0 on, then Standing."""


class Standing(Message, frozen=True):
    """The fresh copy is complete: what it did not have, up to these numbers, does not stand any more.

    Without any numbers it is none: a register cannot be sent now.
    """

    held: dict[str, int]


class Refused(Message, frozen=True):
    """Why the sender ends the stream."""

    reason: str


SyncMessage = Hello | Vector | Digest | Certificates | Delta | Pulses | Want | Found | Fresh | Standing | Refused
SYNC: Codec[SyncMessage] = Codec(SyncMessage, MAX_FRAME)
