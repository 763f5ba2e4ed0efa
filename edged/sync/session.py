"""One replication dialogue with one peer, without I/O: what it holds, what it lacks, and what of its words is taken."""

from edged.errors import InvalidError, ProtocolError
from edged.model.objects import check_stored
from edged.sync.clock import Clock
from edged.wire.codec import VERSION
from edged.wire.sync import BODY, STATUS, Delta, Refused, Register, SyncMessage, Vector

MAX_ORIGINS = 10_000  # in a vector: 100 nodes, each with a hundred stores in its life
MAX_NAME = 253  # characters of a resource, namespace, name, uid or origin: a DNS subdomain
MAX_SEQ = 1 << 62  # SQLite's integers end at 2^63


class Session:
    """The two sides first say what they hold; then each sends what the other lacks, and learns what comes back.

    `lacking(held)` names the deltas to send next, `sent` marks one as sent. `receive` gives the delta to store, or None;
    words that a peer of this version would not say raise ProtocolError.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._theirs: dict[str, int] | None = None

    def hello(self, held: dict[str, int]) -> Vector:
        """The first word."""
        return Vector(VERSION, held, self._clock.latest)

    def receive(self, message: SyncMessage) -> Delta | None:
        """What the peer said: a delta to store, or None when it was about the dialogue itself."""
        match message:
            case Vector():
                self._vector(message)
                return None
            case Delta():
                return self._delta(message)
            case Refused(reason):
                raise ProtocolError(f"the peer ends the replication: {reason[:MAX_NAME]}")

    def lacking(self, held: dict[str, int]) -> list[tuple[str, int]]:
        """What the peer lacks of what is held here: (origin, number after which it lacks everything)."""
        if self._theirs is None:
            return []
        theirs = self._theirs
        return [(origin, theirs.get(origin, 0)) for origin, seq in sorted(held.items()) if seq > theirs.get(origin, 0)]

    def sent(self, delta: Delta) -> None:
        """The peer has this delta, or the stream breaks and all is asked anew."""
        self._know(delta)

    def _know(self, delta: Delta) -> None:
        if self._theirs is not None:
            self._theirs[delta.origin] = max(self._theirs.get(delta.origin, 0), delta.upto)

    def _vector(self, vector: Vector) -> None:
        if vector.version != VERSION:
            raise ProtocolError(f"replication version {vector.version} is not spoken here, version {VERSION} is")
        if len(vector.held) > MAX_ORIGINS:
            raise ProtocolError(f"a vector of {len(vector.held)} origins, at most {MAX_ORIGINS} are taken")
        for origin, seq in vector.held.items():
            if not origin or len(origin) > MAX_NAME or not 0 <= seq <= MAX_SEQ:
                raise ProtocolError(f"a vector holds {origin[:MAX_NAME]!r} up to {seq}")
        if not self._clock.allows(vector.clock):
            raise ProtocolError("the stamps of one side are too far ahead of the other's clock: one of the two clocks is wrong")
        self._theirs = dict(vector.held)

    def _delta(self, delta: Delta) -> Delta:
        if self._theirs is None:
            raise ProtocolError("a delta before the vector")
        if not delta.origin or len(delta.origin) > MAX_NAME or not 0 <= delta.since <= delta.upto <= MAX_SEQ:
            raise ProtocolError(f"a delta of {delta.origin[:MAX_NAME]!r} from {delta.since} to {delta.upto}")
        last = delta.since
        for register in delta.registers:
            self._check(register, delta, last)
            last = register.seq
        for register in delta.registers:
            self._clock.observe(register.clock)
        self._know(delta)
        return delta

    def _check(self, register: Register, delta: Delta, last: int) -> None:
        if register.origin != delta.origin or not last < register.seq <= delta.upto:
            raise ProtocolError(f"a register {register.seq} of {register.origin[:MAX_NAME]!r} after {last} in {delta.origin!r}")
        names = (register.resource, register.namespace, register.name, register.uid)
        if register.part not in (BODY, STATUS) or not all(len(name) <= MAX_NAME for name in names):
            raise ProtocolError(f"a register of {delta.origin} has a bad key")
        if not register.resource or not register.name or register.clock < 0:
            raise ProtocolError(f"a register of {delta.origin} has a bad key")
        if not self._clock.allows(register.clock):
            raise ProtocolError(f"a register of {delta.origin} is stamped too far in the future")
        if register.value is not None:
            try:
                check_stored(register.resource, register.value, status=register.part == STATUS)
            except InvalidError as error:
                raise ProtocolError(f"a register of {delta.origin}: {error}") from error
