"""Beacons: datagrams by which a node says on the LAN who it is and where its UDP socket listens. Made, judged and paced here.

    magic 4 | scope 8 | start 8 | number 4 | port 2 | name's length 1, name | certificate's length 2, certificate (DER)
    signature (ECDSA P-256, DER) over BEACON_CONTEXT and all of the above

`scope` is a hash of the fleet's authority and the group: it proves nothing, it lets others' beacons go by for the price of a
comparison. `start` is drawn anew whenever the node starts, `number` counts its beacons since: an older one is a replay.
Clocks are not asked, for gateways without a battery have none. A replay of a start that was not heard here is taken, once,
and costs a dial that fails: a beacon is a hint, the link's TLS proves who answers there.
"""

import struct
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple, TypeVar

from edged.errors import DeniedError, ProtocolError
from edged.hub.dialogue import check_node
from edged.identity.node import Identity
from edged.identity.verifier import Verifier

MAGIC = b"\x2eeb1"
BEACON_CONTEXT = b"edged beacon v1\x00"
MAX_BEACON = 1350  # bytes: it crosses every LAN whole
START = 8  # bytes
VERIFIED_S = 25.0  # beacons verified in a second; at 0.2 ms each a flood costs 0.5 % of a core
BURST = 50.0  # and at a time after silence: the answers to a newcomer
MAX_HEARD = 1024  # nodes whose numbers are remembered; the one heard longest ago is forgotten
MAX_STARTS = 8  # of a node, with the last number of each: replays of that many recorded starts are taken once each

FIRST_S = (0.0, 1.0, 3.0)  # after the start: the first may be lost while the switch learns a port
SEARCH_S = 5.0  # between beacons while some node is looked for
QUIET_S = 30.0  # between beacons for those who come
ANSWER_S = 0.5  # a newcomer is answered within this, drawn so that a hundred nodes do not shout at once

Key = TypeVar("Key")
_HEAD = struct.Struct("!4s8s8sIHB")
_LENGTH = struct.Struct("!H")


class Hint(NamedTuple):
    """What a beacon claims: the node, and the port of its UDP socket. `fresh`: the first one heard of this start of it."""

    node: str
    port: int
    fresh: bool


class _Beacon(NamedTuple):
    hint: Hint
    start: bytes
    number: int
    certificate: bytes
    signed: bytes
    signature: bytes


class Beacons:
    """The beacons of one node and its judgement of others'. `start` is START random bytes."""

    def __init__(self, identity: Identity, verifier: Verifier, start: bytes) -> None:
        self._identity, self._verifier, self._start = identity, verifier, start
        self._scope = sha256(b"edged scope\x00" + identity.authority_pem + b"\x00" + identity.group.encode()).digest()[:8]
        self._number = 0
        self._heard: dict[str, dict[bytes, int]] = {}  # node: start: last number
        self._left, self._at = BURST, 0.0  # verifications that may be made, and when that was counted

    def make(self, port: int) -> bytes:
        """Our next beacon: our socket listens on `port`."""
        self._number += 1
        name, certificate = self._identity.name.encode(), self._identity.certificate_der
        head = _HEAD.pack(MAGIC, self._scope, self._start, self._number, port, len(name))
        said = head + name + _LENGTH.pack(len(certificate)) + certificate
        return said + self._identity.sign(BEACON_CONTEXT + said)

    def own(self, data: bytes) -> bool:
        """Whether a datagram is a beacon of ours, which comes back so that other nodes of this machine hear it too."""
        return data[: _HEAD.size].startswith(MAGIC + self._scope + self._start)

    def hint(self, data: bytes) -> Hint:
        """What a datagram claims, for the caller to see whether it matters. ProtocolError when it cannot be of our group."""
        return self._parsed(data).hint

    def verify(self, data: bytes, now: float, wall: float) -> Hint:
        """The claim, proved and new. ProtocolError when it is not; `now` is monotonic, `wall` in seconds since the epoch."""
        beacon = self._parsed(data)
        if not self._spend(now):
            raise ProtocolError("more beacons than are verified")
        try:
            subject = self._verifier.proof(beacon.certificate, BEACON_CONTEXT + beacon.signed, beacon.signature, wall)
            check_node(subject, self._identity)
            if subject.group != self._identity.group:
                raise DeniedError(f"{subject.uri} is not of group {self._identity.group}")
        except DeniedError as error:
            raise ProtocolError(f"a beacon that proves nothing: {error}") from error
        if subject.name != beacon.hint.node:
            raise ProtocolError(f"a beacon of {subject.uri} that says it is {beacon.hint.node!r}")
        self._remember(subject.name, beacon)
        return beacon.hint

    def _remember(self, node: str, beacon: _Beacon) -> None:
        starts = self._heard.pop(node, {})
        starts.pop(beacon.start, None)
        _make_room(starts, MAX_STARTS)
        starts[beacon.start] = beacon.number
        _make_room(self._heard, MAX_HEARD)
        self._heard[node] = starts

    def _parsed(self, data: bytes) -> _Beacon:
        if not _HEAD.size < len(data) <= MAX_BEACON:
            raise ProtocolError(f"a beacon of {len(data)} bytes")
        magic, scope, start, number, port, length = _HEAD.unpack_from(data)
        if magic != MAGIC or scope != self._scope:
            raise ProtocolError("a beacon of another version or group")
        at = _HEAD.size + length
        if port == 0 or len(data) < at + _LENGTH.size:
            raise ProtocolError("a beacon that is cut")
        try:
            node = data[_HEAD.size : at].decode("ascii")
        except UnicodeDecodeError as error:
            raise ProtocolError("a beacon of no name") from error
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if len(data) <= end:
            raise ProtocolError("a beacon that is cut")
        last = self._heard.get(node, {}).get(start)
        if node == self._identity.name or (last is not None and number <= last):
            raise ProtocolError("a beacon with our own name, or one that was heard before")
        return _Beacon(Hint(node, port, last is None), start, number, data[at + _LENGTH.size : end], data[:end], data[end:])

    def _spend(self, now: float) -> bool:
        self._left = min(BURST, self._left + (now - self._at) * VERIFIED_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _make_room(table: dict[Key, Any], most: int) -> None:
    if len(table) >= most:
        del table[next(iter(table))]


def pause(sent: int, *, searching: bool, random: Random) -> float:
    """Seconds from beacon number `sent` (0: none was sent yet) to the next one, drawn so that nodes do not march in step."""
    if sent < len(FIRST_S):
        return FIRST_S[sent] - (FIRST_S[sent - 1] if sent else 0.0)
    return (SEARCH_S if searching else QUIET_S) * (1 - random.random() / 4)
