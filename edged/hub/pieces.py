"""Datagrams in two pieces: how a link's datagrams, all of one size, go by a way that is too narrow for them. Pure.

    magic 4 | half 1 | 0 | link 8 | number 4 | a half of the datagram

QUIC is told the size of its datagrams once, for all ways that its link will go. A way that carries no more than NARROW_SIZE
bytes, as its probes tell (path.py), gets the two halves of what is larger. The first byte has both top bits 0, which no
QUIC packet of version 1 has (RFC 9000, 17). What is put together is as authentic as the datagram itself: QUIC sees to that.
"""

import struct
from collections.abc import Sequence
from itertools import count

from edged.errors import ProtocolError
from edged.hub.probe import NARROW_SIZE, PING_SIZE

MAGIC = b"\x2dec1"
GROUP = 64  # datagrams whose first halves go before the second ones: as many as a burst takes
MAX_WAITING = 4 * GROUP  # halves that wait for their other one, 170 kB: more are on the way only when most are lost
_HEAD = struct.Struct("!4sBx8sI")
_NUMBERS = 1 << 32


def is_piece(data: bytes) -> bool:
    """Whether this one datagram can be one of these."""
    return data[:4] == MAGIC


class Pieces:
    """Of one link."""

    def __init__(self, link_id: bytes) -> None:
        self._link_id = link_id
        self._numbers = count()
        self._waiting: dict[int, tuple[int, bytes]] = {}  # half by number, the oldest first

    def cut(self, datagrams: Sequence[bytes]) -> list[bytes]:
        """The same for a narrow way. Halves of one size follow each other, so that they leave in bursts."""
        pieces: list[bytes] = []
        for at in range(0, len(datagrams), GROUP):
            seconds: list[bytes] = []
            for data in datagrams[at : at + GROUP]:
                if len(data) <= NARROW_SIZE:
                    seconds.append(data)
                    continue
                number, middle = next(self._numbers) % _NUMBERS, (len(data) + 1) // 2
                pieces.append(_HEAD.pack(MAGIC, 0, self._link_id, number) + data[:middle])
                seconds.append(_HEAD.pack(MAGIC, 1, self._link_id, number) + data[middle:])
            pieces += seconds
        return pieces

    def join(self, piece: bytes) -> bytes | None:
        """The datagram, when both of its halves are there. ProtocolError when this is none, whatever the bytes."""
        if not _HEAD.size < len(piece) <= _HEAD.size + PING_SIZE:
            raise ProtocolError(f"a piece of {len(piece)} bytes")
        magic, half, link_id, number = _HEAD.unpack_from(piece)
        if magic != MAGIC or link_id != self._link_id or half > 1:
            raise ProtocolError("a piece of another link, or none")
        part = piece[_HEAD.size :]
        other = self._waiting.pop(number, None)
        if other is not None and other[0] != half:
            return part + other[1] if half == 0 else other[1] + part
        if len(self._waiting) >= MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[number] = (half, part)
        return None
