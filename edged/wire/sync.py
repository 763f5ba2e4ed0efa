"""What is replicated, and how two nodes say it: registers, version vectors, deltas.

An object is two registers, `body` and `status`, because they have different writers. Each carries who wrote it (origin),
the origin's own number for the write (seq, from 1, no number used twice) and a hybrid logical clock. Merge is last writer
wins, a register at a time: commutative, associative, idempotent.

    both, at once:  Vector
    both, always:   Delta...     whatever the other's vector lacks; each advances the receiver's vector when stored
"""

from edged.wire.codec import MAX_FRAME, Codec, Message

BODY = "body"
STATUS = "status"
MAX_DELTA = 256  # registers in one delta
MAX_DELTA_BYTES = 512 << 10  # bodies in one delta; a single larger register travels alone


class Register(Message, frozen=True):
    """One half of an object, as its origin wrote it.

    `part` is BODY or STATUS. `uid` ties a status to the object it is about: a status of another uid is not shown.
    `clock` is a hybrid logical clock: milliseconds since 1970 times 65,536 plus a counter. `value` is JSON, or None for
    a tombstone. `signature` is the origin's over everything before it, or empty.
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
        """Whether this one stays when both are written to the same place: the later clock; on a tie the greater origin."""
        return (self.clock, self.origin, self.seq) > (other.clock, other.origin, other.seq)


class Vector(Message, frozen=True):
    """What the sender holds: for each origin, the number up to which it has everything. `clock` is its clock now."""

    version: int
    held: dict[str, int]
    clock: int


class Delta(Message, frozen=True):
    """All registers of `origin` that still stand with numbers in (since, upto], in order. Superseded ones are simply gone."""

    origin: str
    since: int
    upto: int
    registers: list[Register]


class Refused(Message, frozen=True):
    """Why the sender ends the stream."""

    reason: str


SyncMessage = Vector | Delta | Refused
SYNC: Codec[SyncMessage] = Codec(SyncMessage, MAX_FRAME)
