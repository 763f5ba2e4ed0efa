"""Probes: small questions sent over UDP to learn whether an address leads to the peer of a link.

    magic 4 | kind 1 | role 1 | link 8 | transaction 8 | seen: IPv6 or v4-mapped 16, port 2 | HMAC-SHA-256/128 16 | padding

The first byte has both top bits 0, which no QUIC packet of version 1 has (RFC 9000, 17). The role says which end of the
link speaks: an end takes only the other's probes, so that a probe which comes back to its sender (both nodes have a bridge
with the same private address) is not taken for an answer. A full ping is padded to the largest datagram: a path that answers
carries those too (RFC 8899, section 4.1). A narrow one is as large as every path must be able to carry, a small one only
asks who is there. No pong is larger than its ping: nobody can use it to amplify.
"""

import hmac
import struct
from hashlib import sha256
from typing import NamedTuple

from edged.errors import ProtocolError
from edged.kit.address import Address
from edged.wire import endpoint

MAGIC = b"\x2eep1"
PING = 1
PONG = 2
LINK_ID = slice(6, 14)  # where a datagram names its link
PING_SIZE = 1350  # bytes of a full ping, the size of the links' largest datagrams
NARROW_SIZE = 1200  # of a narrow one: QUIC runs by no path that carries less (RFC 9000, section 14)
_HEAD = struct.Struct(f"!4sBB8s8s{endpoint.SIZE}s")
_MAC = 16  # bytes
PONG_SIZE = _HEAD.size + _MAC  # of a pong, and of a small ping
SIZES = (PING_SIZE, NARROW_SIZE, PONG_SIZE)
TRANSACTION = 8  # bytes


class Ping(NamedTuple):
    """The question whether the peer is there."""

    transaction: bytes


class Pong(NamedTuple):
    """The answer; the ping came from `seen`."""

    transaction: bytes
    seen: Address


class Probes:
    """Makes and opens the probes of one link. `key` was agreed in it; `dialler` says which end we are."""

    def __init__(self, key: bytes, *, dialler: bool) -> None:
        self._key = key
        self.dialler = dialler
        self._role = int(dialler)
        self.link_id = sha256(b"edged link id\x00" + key).digest()[:8]

    def ping(self, transaction: bytes, size: int = PING_SIZE) -> bytes:
        """A ping of one of SIZES. `transaction` is 8 bytes that nobody can guess."""
        return self._sealed(PING, transaction, endpoint.NOWHERE).ljust(size, b"\x00")

    def pong(self, transaction: bytes, seen: Address) -> bytes:
        """The answer to a ping that came from `seen`."""
        return self._sealed(PONG, transaction, endpoint.packed(*seen))

    def open(self, data: bytes) -> Ping | Pong:
        """A probe by the other end of the link. ProtocolError when it is not one, whatever the bytes."""
        if len(data) < PONG_SIZE:
            raise ProtocolError(f"a probe of {len(data)} bytes")
        head, mac = data[: _HEAD.size], data[_HEAD.size : PONG_SIZE]
        magic, kind, role, link_id, transaction, seen = _HEAD.unpack(head)
        if magic != MAGIC or link_id != self.link_id or role != 1 - self._role:
            raise ProtocolError("a probe of another version, link or end")
        if not hmac.compare_digest(mac, self._mac(head)):
            raise ProtocolError("a probe that is not authentic")
        if kind == PING and len(data) in SIZES:
            return Ping(transaction)
        if (kind, len(data)) == (PONG, PONG_SIZE):
            return Pong(transaction, Address(*endpoint.unpacked(seen)))
        raise ProtocolError(f"a probe of kind {kind} and {len(data)} bytes")

    def _sealed(self, kind: int, transaction: bytes, seen: bytes) -> bytes:
        head = _HEAD.pack(MAGIC, kind, self._role, self.link_id, transaction, seen)
        return head + self._mac(head)

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._key, head, "sha256")[:_MAC]
