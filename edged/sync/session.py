"""One replication dialogue with one peer, without I/O: what it holds, what it lacks, and what of its words is taken.

receive(message)      what the peer said: checked, and what is to be done about it returned
hello, vector         what to say first, and every half minute
lacking(held)         the deltas to send next; `sent` marks one as sent
untold(pulses)        the pulses to send next
missing(signatures)   the certificates to send before what they prove
numbers(held)         a digest of the numbers that both share
stale(held)           whether this node was away for so long that it needs a fresh copy
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from edged.errors import DeniedError, ProtocolError
from edged.hub.names import abroad, parted
from edged.identity.keyring import KEY_ID, Keyring
from edged.sync.clock import Clock
from edged.wire.codec import VERSION
from edged.wire.sync import (
    BODY,
    DIGEST,
    FLEET,
    MAX_CERTIFICATES,
    MAX_DELTA,
    MAX_LINKED,
    MAX_PULSES,
    MAX_WANTED,
    STATUS,
    VOLATILE,
    Certificates,
    Delta,
    Digest,
    Found,
    Fresh,
    Hello,
    Place,
    Pulse,
    Pulses,
    Refused,
    Register,
    Standing,
    SyncMessage,
    Vector,
    Want,
    node_of,
    scope_of,
)

MAX_ORIGINS = 10_000  # in a vector: 100 nodes, each with a hundred stores in its life
MAX_KEYS = 32_768  # in a hello: twice what a keyring keeps
MAX_NAME = 253  # characters of a resource, namespace, name, uid or origin: a DNS subdomain
MAX_SEQ = 1 << 62  # SQLite's integers end at 2^63
MAX_WALL = 1e11  # epoch seconds: no clock shows the year 5138
MAX_IN_FLIGHT = 1 << 16  # deltas sent since the last vector that the peer has answered: a copy of 16 M registers


@dataclass(frozen=True, slots=True)
class Sweep:
    """A fresh copy is complete: of each origin in `held`, what is not in `standing` does not stand up to that number."""

    held: Mapping[str, int]
    standing: Mapping[str, set[int]]


Taken = Hello | Vector | Digest | Certificates | Delta | Pulses | Want | Found | Fresh | Sweep


class Session:
    """A dialogue between `node` and `peer`, which is `limited` or not, about the scopes that both hold.

    Beside `scopes` that is the fleet. A peer of another group (GROUP/NAME) tells no pulses, and its clock is no measure.
    Words that a peer of this version would not say raise ProtocolError. DeniedError: the two cannot replicate now, for
    another version, a wrong clock, or because the peer says so.
    """

    def __init__(self, peer: str, *, limited: bool, scopes: Container[str], clock: Clock, keys: Keyring) -> None:
        self._peer, self.limited, self._scopes = peer, limited, scopes
        self.abroad = abroad(peer)
        self._clock, self._keys = clock, keys
        self._greeted = False
        self._theirs: dict[str, int] | None = None
        self._floors: dict[str, int] = {}
        self._flying: dict[int, tuple[str, int]] = {}  # deltas that the peer's last vector did not know of yet
        self._sent = 0
        self._taken = 0
        self._known_keys: set[bytes] = set()
        self._told: dict[str, tuple[int, int]] = {}
        self._copied: dict[str, int] = {}
        self._standing: dict[str, set[int]] = {}
        self.copying = False  # a fresh copy was asked for and is not complete
        self._checks: dict[type[SyncMessage], Callable[[Any], None]] = {
            Hello: self._hello,
            Vector: self._vector,
            Digest: _check_digest,
            Certificates: self._certificates,
            Delta: self._delta,
            Pulses: self._pulses,
            Want: self._want,
            Found: self._found,
        }

    # ---- what to say

    @property
    def informed(self) -> bool:
        """Whether the peer has said what it holds."""
        return self._theirs is not None

    def hello(self) -> Hello:
        """The first word."""
        return Hello(VERSION, self._clock.wall(), sorted(self._keys.ids)[:MAX_KEYS])

    def shares(self, origin: str) -> bool:
        """Whether this dialogue is about what an origin writes."""
        return self.shares_scope(scope_of(origin))

    def shares_scope(self, scope: str) -> bool:
        """Whether this dialogue is about a scope."""
        return scope == FLEET or scope in self._scopes

    def wanted(self, damaged: Iterable[Place]) -> list[Place]:
        """Of damaged places, those that the peer may be asked for; at most MAX_WANTED."""
        return sorted(place for place in damaged if self._shares_place(place))[:MAX_WANTED]

    def vector(self, held: Mapping[str, int], floors: Mapping[str, int], refused: Mapping[str, int] | None = None) -> Vector:
        """What this node holds of what both share."""
        return Vector(self._shared(held), self._shared(floors), self._taken, self._shared(refused or {}))

    def numbers(self, held: Mapping[str, int]) -> bytes:
        """A digest of the numbers of the durable origins that both share."""
        return _digest(self._durable(held))

    def equals(self, vector: Vector, held: Mapping[str, int]) -> bool:
        """Whether the peer holds the same numbers of them."""
        return self._durable(vector.held) == self._durable(held)

    def lacking(self, held: Mapping[str, int], floors: Mapping[str, int]) -> list[tuple[str, int]]:
        """What the peer lacks of what is held here: (origin, number after which it lacks everything).

        Of an origin whose deletions are forgotten beyond that number there is none: a delta would hide that they were.
        """
        if self._theirs is None:
            return []
        more = ((origin, since) for origin, seq in held.items() if seq > (since := self._theirs.get(origin, 0)))
        return sorted((origin, since) for origin, since in more if since >= floors.get(origin, 0) and self.shares(origin))

    def claims(self, origin: str, number: int) -> bool:
        """Whether the peer says that it holds an origin beyond a number."""
        return self._theirs is not None and self._theirs.get(origin, 0) > number

    def sent(self, delta: Delta) -> None:
        """The peer has this delta, or the stream breaks and all is asked anew."""
        self._sent += 1
        if len(self._flying) < MAX_IN_FLIGHT:
            self._flying[self._sent] = (delta.origin, delta.upto)
        self._know(delta.origin, delta.upto)

    def untold(self, pulses: Iterable[Pulse]) -> list[Pulse]:
        """Those of `pulses` that the peer has not been told and has not told: they count as told from now on."""
        if self.abroad:
            return []
        news = [pulse for pulse in pulses if self._told.get(pulse.node, (-1, 0)) < (pulse.boot, pulse.number)]
        self._told.update((pulse.node, (pulse.boot, pulse.number)) for pulse in news[:MAX_PULSES])
        return news[:MAX_PULSES]

    def missing(self, signatures: Iterable[bytes]) -> list[bytes]:
        """The certificates (DER) that the peer needs for these signatures: it has them from now on."""
        ids = {signature[:KEY_ID] for signature in signatures} - self._known_keys
        self._known_keys |= ids
        return [certificate for id_ in sorted(ids) if (certificate := self._keys.certificate(id_)) is not None]

    def stale(self, held: Mapping[str, int]) -> bool:
        """Whether the peer has removed tombstones that this node may have missed: it needs a fresh copy.

        A limited peer is not believed: what it does not have may stand all the same.
        """
        return not self.limited and any(floor > held.get(origin, 0) for origin, floor in self._floors.items())

    def begin_copy(self) -> None:
        """A fresh copy is asked for."""
        self.copying, self._copied, self._standing = True, {}, {}

    @property
    def floors(self) -> Mapping[str, int]:
        """The peer's: see `Vector`."""
        return self._floors

    # ---- what was said

    def receive(self, message: SyncMessage, own: Mapping[str, int]) -> Taken:
        """What the peer said, checked. `own` are this node's own origins and their last numbers."""
        if isinstance(message, Refused):
            raise DeniedError(f"the peer ends the replication: {message.reason[:MAX_NAME]}")
        if isinstance(message, Hello) == self._greeted:
            raise ProtocolError(f"{type(message).__name__} out of turn")
        if isinstance(message, Standing):
            return self._sweep(message, own)
        check = self._checks.get(type(message))
        if check is not None:
            check(message)
        return message

    def taken(self, delta: Delta) -> None:
        """A delta of the peer was dealt with: the next vector says what came of it."""
        self._taken += 1

    def _hello(self, hello: Hello) -> None:
        if hello.version != VERSION:
            raise DeniedError(f"replication version {hello.version} is not spoken here, version {VERSION} is")
        if len(hello.keys) > MAX_KEYS:
            raise ProtocolError(f"{len(hello.keys)} keys, at most {MAX_KEYS} are taken")
        if not 0 <= hello.wall <= MAX_WALL:
            raise ProtocolError(f"a clock that says {hello.wall}")
        why = self._clock.hear(self._peer, hello.wall, counts=not self.abroad)
        if why:
            raise DeniedError(why)
        self._known_keys.update(hello.keys)
        self._greeted = True

    def _vector(self, vector: Vector) -> None:
        for numbers in (vector.held, vector.floors, vector.refused):
            if len(numbers) > MAX_ORIGINS:
                raise ProtocolError(f"a vector of {len(numbers)} origins, at most {MAX_ORIGINS} are taken")
            for origin, seq in numbers.items():
                if not origin or len(origin) > MAX_NAME or not 0 <= seq <= MAX_SEQ:
                    raise ProtocolError(f"a vector holds {origin[:MAX_NAME]!r} up to {seq}")
        if not 0 <= vector.taken <= self._sent:
            raise ProtocolError(f"a vector with {vector.taken} of {self._sent} deltas")
        self._theirs, self._floors = self._shared(vector.held), self._shared(vector.floors)
        self._flying = {number: each for number, each in self._flying.items() if number > vector.taken}
        for origin, upto in (*self._flying.values(), *self._shared(vector.refused).items()):
            self._know(origin, upto)

    def _certificates(self, message: Certificates) -> None:
        if len(message.certificates) > MAX_CERTIFICATES:
            raise ProtocolError(f"{len(message.certificates)} certificates, at most {MAX_CERTIFICATES} are taken at once")
        try:
            self._known_keys.update([self._keys.learn(certificate) for certificate in message.certificates])
        except DeniedError as error:
            raise ProtocolError(str(error)) from error

    def _delta(self, delta: Delta) -> None:
        if self._theirs is None:
            raise ProtocolError("a delta before the vector")
        if not delta.origin or len(delta.origin) > MAX_NAME or not 0 <= delta.since <= delta.upto <= MAX_SEQ:
            raise ProtocolError(f"a delta of {delta.origin[:MAX_NAME]!r} from {delta.since} to {delta.upto}")
        if not self.shares(delta.origin) or not self._keys.knows(node_of(delta.origin)):
            raise ProtocolError(f"a delta of {delta.origin!r}: no node of ours writes there")
        if self.limited and node_of(delta.origin) != parted(self._peer)[1]:
            raise ProtocolError(f"a limited node passes on a delta of {delta.origin!r}")
        if len(delta.registers) > MAX_DELTA:
            raise ProtocolError(f"a delta of {len(delta.registers)} registers, at most {MAX_DELTA} are taken")
        last = delta.since + 1
        for register in delta.registers:  # a store whose disk went back may have used a number twice
            if register.origin != delta.origin or not last <= register.seq <= delta.upto:
                origin = register.origin[:MAX_NAME]
                raise ProtocolError(f"a register {register.seq} of {origin!r} after {last} in {delta.origin!r}")
            _check(register)
            last = register.seq
        self._know(delta.origin, delta.upto)
        if delta.copy and self.copying:
            self._copy(delta)

    def _copy(self, delta: Delta) -> None:
        if delta.since == self._copied.get(delta.origin, 0):
            self._copied[delta.origin] = delta.upto
            self._standing.setdefault(delta.origin, set()).update(register.seq for register in delta.registers)

    def _pulses(self, message: Pulses) -> None:
        if self.abroad:
            raise ProtocolError("pulses of another group")
        if len(message.pulses) > MAX_PULSES:
            raise ProtocolError(f"{len(message.pulses)} pulses, at most {MAX_PULSES} are taken at once")
        for pulse in message.pulses:
            numbers = (pulse.boot, pulse.number, pulse.claim)
            if (
                len(pulse.node) > MAX_NAME
                or not all(0 <= each <= MAX_SEQ for each in numbers)
                or not 0 <= pulse.wall <= MAX_WALL
            ):
                raise ProtocolError(f"a pulse of {pulse.node[:MAX_NAME]!r} with numbers that no node gives")
            if len(pulse.linked) > MAX_LINKED or any(len(name) > MAX_NAME for name in pulse.linked):
                raise ProtocolError(
                    f"a pulse of {pulse.node[:MAX_NAME]!r} with {len(pulse.linked)} links, at most {MAX_LINKED}"
                )
            told = self._told.get(pulse.node, (-1, 0))
            self._told[pulse.node] = max(told, (pulse.boot, pulse.number))

    def _want(self, message: Want) -> None:
        if len(message.places) > MAX_WANTED:
            raise ProtocolError(f"{len(message.places)} places wanted, at most {MAX_WANTED} at once")
        if not all(map(self._shares_place, message.places)):
            raise ProtocolError("places wanted of a scope that is not shared")

    def _found(self, message: Found) -> None:
        if max(len(message.registers), len(message.missing)) > MAX_WANTED:
            raise ProtocolError(f"{len(message.registers)} registers found, at most {MAX_WANTED} were wanted")
        for register in message.registers:
            if not self.shares(register.origin):
                raise ProtocolError(f"a register of {register.origin[:MAX_NAME]!r} found, which was not wanted")
            _check(register)

    def _sweep(self, message: Standing, own: Mapping[str, int]) -> Sweep:
        """The peer says that it has sent everything: believed up to what it has sent, and to what can be."""
        if not self.copying or self.limited:
            raise ProtocolError("a fresh copy that was not asked for")
        held = self._shared(message.held)
        for origin, upto in held.items():
            if not 0 <= upto <= self._copied.get(origin, 0):
                raise ProtocolError(f"a fresh copy of {origin[:MAX_NAME]!r} up to {upto} that is not complete")
            if origin in own and upto > own[origin]:
                raise ProtocolError(f"a fresh copy holds {origin!r} up to {upto}, which this node has not written")
        sweep = Sweep(held, self._standing)
        self.copying, self._copied, self._standing = False, {}, {}
        return sweep

    # ---- within

    def _know(self, origin: str, upto: int) -> None:
        if self._theirs is not None:
            self._theirs[origin] = max(self._theirs.get(origin, 0), upto)

    def _shared(self, numbers: Mapping[str, int]) -> dict[str, int]:
        return {origin: seq for origin, seq in numbers.items() if self.shares(origin)}

    def _durable(self, numbers: Mapping[str, int]) -> dict[str, int]:
        return {origin: seq for origin, seq in numbers.items() if seq and VOLATILE not in origin and self.shares(origin)}

    def _shares_place(self, place: Place) -> bool:
        return self.shares_scope(place[0])


def _check_digest(digest: Digest) -> None:
    if (len(digest.numbers), len(digest.registers)) != (DIGEST, DIGEST):
        raise ProtocolError(f"a digest of {len(digest.registers)} bytes, not of {DIGEST}")


def _digest(numbers: Mapping[str, int]) -> bytes:
    return blake2b(msgspec.msgpack.encode(sorted(numbers.items())), digest_size=DIGEST).digest()


def _check(register: Register) -> None:
    names = (register.resource, register.namespace, register.name, register.uid)
    if register.part not in (BODY, STATUS) or not all(len(name) <= MAX_NAME for name in names):
        raise ProtocolError(f"a register of {register.origin[:MAX_NAME]} has a bad key")
    if not register.resource or not register.name or not 0 <= register.clock <= MAX_SEQ or not 0 < register.seq <= MAX_SEQ:
        raise ProtocolError(f"a register of {register.origin[:MAX_NAME]} has a bad key")
