"""Frames around requests and answers, without I/O: Modbus TCP and RTU.

Sources: Modbus Messaging on TCP/IP 1.0b, section 3.1; Modbus over Serial Line 1.02, section 2.5.1.
"""

import struct
from typing import NamedTuple

from edged.device.mapper import PropertyError
from edged.device.modbus.pdu import Request, SilentError
from edged.errors import ProtocolError

HEADER = 7  # bytes of Modbus TCP: transaction, protocol, length, unit
TRANSACTIONS = 65536
MAX_LATE = 64  # requests that were given up and may still be answered; older ones are forgotten, their answers nonsense

Outcome = bytes | PropertyError | SilentError | ProtocolError  # data, or why there is none


class _Asked(NamedTuple):
    unit: int
    request: Request
    late: bool = False


class TcpFrames:
    """The frames of one Modbus TCP connection. Several requests may be under way; each has its transaction."""

    def __init__(self) -> None:
        self._transaction = 0
        self._asked: dict[int, _Asked] = {}
        self._buffer = b""

    def ask(self, unit: int, request: Request) -> tuple[int, bytes]:
        """A request to a unit: its transaction, and its frame."""
        self._transaction = (self._transaction + 1) % TRANSACTIONS
        self._asked[self._transaction] = _Asked(unit, request)
        return self._transaction, struct.pack(">HHHB", self._transaction, 0, len(request.pdu) + 1, unit) + request.pdu

    def forget(self, transaction: int) -> None:
        """Nobody waits for this answer any more; should it come, it is passed over."""
        asked = self._asked.pop(transaction, None)
        if asked is not None:
            self._asked[transaction] = asked._replace(late=True)
        late = [number for number, each in self._asked.items() if each.late]
        for number in late[:-MAX_LATE]:
            del self._asked[number]

    def receive(self, data: bytes) -> list[tuple[int, Outcome]]:
        """What these bytes complete, by transaction. ProtocolError: the bytes are no answers; the connection is of no use."""
        self._buffer += data
        found: list[tuple[int, Outcome]] = []
        while self._buffer:
            asked = self._header()
            if asked is None or len(self._buffer) <= HEADER:
                return found
            whole = HEADER + asked.request.length(self._buffer[HEADER : HEADER + 2])
            announced = int.from_bytes(self._buffer[4:6], "big")
            if announced != whole - 6:
                raise ProtocolError(f"announces {announced} bytes, its answer takes {whole - 6}")
            if len(self._buffer) < whole:
                return found
            transaction = int.from_bytes(self._buffer[:2], "big")
            if not asked.late:
                found.append((transaction, _outcome(asked.request, self._buffer[HEADER:whole])))
            del self._asked[transaction]
            self._buffer = self._buffer[whole:]
            if self._buffer and not self._asked:
                raise ProtocolError(f"sends {len(self._buffer)} bytes more than its answer")
        return found

    @property
    def begun(self) -> int:
        """Bytes of an answer that is not whole."""
        return len(self._buffer)

    def _header(self) -> _Asked | None:
        """Each field as soon as it is there: no wait for the rest of a frame that is none. None: not whole yet."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        asked = self._asked.get(int.from_bytes(buffer[:2], "big"))
        if asked is None:
            expected = " or ".join(str(each) for each, of in self._asked.items() if not of.late) or "nothing"
            raise ProtocolError(f"answers with transaction {int.from_bytes(buffer[:2], 'big')}, asked was {expected}")
        for name, start, end, wanted in (("protocol", 2, 4, 0), ("unit", 6, 7, asked.unit)):
            if len(buffer) >= end and (got := int.from_bytes(buffer[start:end], "big")) != wanted:
                raise ProtocolError(f"answers with {name} {got}, asked was {wanted}")
        return asked if len(buffer) >= HEADER else None


class RtuExchange:
    """One request on a line of RTU, and the parser of its answer: feed `receive` until it returns the data.

    Nothing says where a frame ends but its function and its length: the answer is read as what was asked for.
    """

    def __init__(self, unit: int, request: Request) -> None:
        self._unit, self._request = unit, request
        self._buffer = b""
        frame = bytes([unit]) + request.pdu
        self.outgoing = frame + crc(frame)

    @property
    def longest(self) -> int:
        """Bytes of the answer's frame."""
        return 1 + self._request.longest + 2

    @property
    def begun(self) -> int:
        """Bytes of an answer that is not whole."""
        return len(self._buffer)

    def receive(self, data: bytes) -> bytes | None:
        """The answer's data once it is whole, None before. Errors as `Request.data`, and ProtocolError of a damaged frame."""
        self._buffer += data
        if self._buffer and self._buffer[0] != self._unit:
            raise ProtocolError(f"answers with unit {self._buffer[0]}, asked was {self._unit}")
        if len(self._buffer) < 2:
            return None
        whole = 1 + self._request.length(self._buffer[1:3]) + 2
        if len(self._buffer) < whole:
            return None
        if len(self._buffer) > whole:
            raise ProtocolError(f"sends {len(self._buffer) - whole} bytes more than its answer")
        if crc(self._buffer[:-2]) != self._buffer[-2:]:
            raise ProtocolError(f"answers with a wrong checksum: {self._buffer.hex(' ')}")
        return self._request.data(self._buffer[1:-2])


def _outcome(request: Request, answer: bytes) -> Outcome:
    try:
        return request.data(answer)
    except (PropertyError, SilentError, ProtocolError) as error:
        return error


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)  # noqa: PLW2901  the polynomial's division, a bit at a time
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def crc(data: bytes) -> bytes:
    """The checksum of an RTU frame, low byte first (section 2.5.1.2)."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")
