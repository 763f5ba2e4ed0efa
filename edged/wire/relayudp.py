"""What a node and its relay say to each other by UDP: from which address a datagram came, and whether its port is proved.

    magic 4 | kind 1 | session 8 | transaction 8 | address 16, port 2 | cookie 16 | HMAC-SHA-256/128 16

The first byte has both top bits 0, which no QUIC packet of version 1 has (RFC 9000, section 17), and is not that of the
probes between nodes. Question and answer are of one size: whoever forges a sender gains nothing. The key is the session's.

    at a port for questions        node: Where            relay: Here     the node's address as the relay sees it
    at a forwarding port           node: Where            relay: Here     the same, and a cookie that fits this address
                                   node: Where, cookie    relay: Bound    datagrams from this address pass from here on

Only who receives at an address learns its cookie, so a forged or replayed sender binds nothing. One cookie fits all ports of
the relay: where the NAT treats destinations alike, a node that asked about its address is bound by its first question.
"""

import hmac
import struct
from typing import NamedTuple

from edged.errors import ProtocolError
from edged.wire import endpoint

MAGIC = b"\x2feu1"
COOKIE = 16  # bytes
NO_COOKIE = bytes(COOKIE)
_WHERE, _HERE, _BOUND = 1, 2, 3
_HEAD = struct.Struct(f"!4sBQQ{endpoint.SIZE}s{COOKIE}s")
_MAC = 16  # bytes
SIZE = _HEAD.size + _MAC


class Where(NamedTuple):
    """The question from where this comes, by `session`. `transaction` grows from question to question, up to 64 bits.

    `cookie` is the one that was given to the address from which this comes, NO_COOKIE while the node has none.
    """

    session: int
    transaction: int
    cookie: bytes = NO_COOKIE


class Here(NamedTuple):
    """The answer to question `transaction`: it came from `seen`, an IP address and a port, to which `cookie` is given.

    `bound`: datagrams from there pass this port from now on.
    """

    session: int
    transaction: int
    seen: tuple[str, int]
    cookie: bytes
    bound: bool


def is_ours(data: bytes | bytearray | memoryview) -> bool:
    """Whether this one datagram can be one of these."""
    return len(data) == SIZE and data[:4] == MAGIC


def session(data: bytes | bytearray | memoryview) -> int:
    """Whose key opens it: 0 when it cannot be one of these."""
    return int(_HEAD.unpack_from(data)[2]) if is_ours(data) else 0


def sealed(message: Where | Here, key: bytes) -> bytes:
    """The message as one datagram."""
    if isinstance(message, Where):
        fields = (_WHERE, message.session, message.transaction, endpoint.NOWHERE, message.cookie)
    else:
        kind, seen = _BOUND if message.bound else _HERE, endpoint.packed(*message.seen)
        fields = (kind, message.session, message.transaction, seen, message.cookie)
    head = _HEAD.pack(MAGIC, *fields)
    return head + _mac(head, key)


def opened(data: bytes, key: bytes) -> Where | Here:
    """The message in a datagram. ProtocolError when it is not an authentic one of this key's session, whatever the bytes."""
    if not is_ours(data):
        raise ProtocolError(f"{len(data)} bytes that are no question or answer about an address")
    head, mac = data[: _HEAD.size], data[_HEAD.size :]
    if not hmac.compare_digest(mac, _mac(head, key)):
        raise ProtocolError("a question or an answer that is not authentic")
    _magic, kind, number, transaction, seen, cookie = _HEAD.unpack(head)
    if kind == _WHERE:
        return Where(number, transaction, cookie)
    if kind in (_HERE, _BOUND):
        return Here(number, transaction, endpoint.unpacked(seen), cookie, kind == _BOUND)
    raise ProtocolError(f"a question or an answer of kind {kind}")


def _mac(head: bytes, key: bytes) -> bytes:
    return hmac.digest(key, head, "sha256")[:_MAC]
