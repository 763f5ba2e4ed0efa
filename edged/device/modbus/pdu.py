"""Modbus requests and their answers, without the frames around them (Modbus Application Protocol 1.1b3, section 6).

An answer is checked byte for byte: function, byte count, and of a write what it confirms.
"""

import struct
from typing import NamedTuple

from edged.device.mapper import PropertyError
from edged.device.modbus.registers import BIT_AREAS, COIL, DISCRETE, HOLDING, INPUT, Area, Register
from edged.errors import ProtocolError, UnreachableError

READS: dict[Area, int] = {COIL: 1, DISCRETE: 2, HOLDING: 3, INPUT: 4}  # function codes
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, MASK_WRITE = 5, 6, 15, 16, 22
EXCEPTION = 0x80  # this bit of the function code says that the answer is an exception
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 0x01, 0x02, 0x03
GATEWAY_PATH, GATEWAY_TARGET = 0x0A, 0x0B

EXCEPTIONS = {  # section 7
    ILLEGAL_FUNCTION: "illegal function",
    ILLEGAL_ADDRESS: "illegal data address",
    ILLEGAL_VALUE: "illegal data value",
    0x04: "server device failure",
    0x05: "acknowledge, still busy",
    0x06: "server device busy",
    0x08: "memory parity error",
    GATEWAY_PATH: "gateway path unavailable",
    GATEWAY_TARGET: "the device behind the gateway does not respond",
}


class RefusedError(PropertyError):
    """The device answers with an exception: `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"answers with exception {code} ({EXCEPTIONS.get(code, 'unknown')})")
        self.code = code


class SilentError(UnreachableError):
    """A unit does not answer in its time, or the gateway before it says so; others on its line may."""


class Request(NamedTuple):
    """`pdu` is what is asked; the answer has `size` bytes of data, or repeats `echo`."""

    pdu: bytes
    size: int = 0
    echo: bytes = b""

    @property
    def longest(self) -> int:
        """Bytes of the answer's PDU."""
        return 2 + self.size if self.size else 1 + len(self.echo)

    def length(self, head: bytes) -> int:
        """The length of an answer that begins so (at least one byte, the function). ProtocolError: it is none."""
        function = head[0]
        if function & ~EXCEPTION != self.pdu[0]:
            raise ProtocolError(f"answers function {self.pdu[0]} with function {function}")
        if function & EXCEPTION:
            return 2
        if self.size and len(head) > 1 and head[1] != self.size:
            raise ProtocolError(f"answers with {head[1]} bytes of data, asked were {self.size}")
        return self.longest

    def data(self, answer: bytes) -> bytes:
        """The data of a whole answer; b"" confirms a write.

        ProtocolError: it is no answer to this. RefusedError: an exception. SilentError: a gateway's exception.
        """
        if len(answer) != self.length(answer):
            raise ProtocolError(f"answers with {len(answer)} bytes, asked were {self.length(answer)}")
        if answer[0] & EXCEPTION:
            refused = RefusedError(answer[1])
            if refused.code in {GATEWAY_PATH, GATEWAY_TARGET}:
                raise SilentError(str(refused))
            raise refused
        if answer[1:] != self.echo and not self.size:
            raise ProtocolError("confirms a write that was not asked for")
        return answer[2:] if self.size else b""


def read(area: Area, first: int, count: int) -> Request:
    """Asks for registers, coils or discrete inputs."""
    size = (count + 7) // 8 if area in BIT_AREAS else 2 * count
    return Request(struct.pack(">BHH", READS[area], first, count), size)


def write_one(function: int, offset: int, data: bytes) -> Request:
    """Writes one coil (function 5: FF00 is on) or one holding register (6)."""
    if function == WRITE_COIL:
        data = b"\xff\0" if any(data) else b"\0\0"
    rest = struct.pack(">H", offset) + data
    return Request(bytes([function]) + rest, echo=rest)


def write_many(function: int, offset: int, data: bytes) -> Request:
    """Writes registers (function 16), or one coil as if it were many (15)."""
    count = 1 if function == WRITE_COILS else len(data) // 2
    rest = struct.pack(">HH", offset, count)
    return Request(bytes([function]) + rest + bytes([len(data)]) + data, echo=rest)


def mask_write(offset: int, mask: bytes, data: bytes) -> Request:
    """Writes the bits of a holding register that are not in `mask` (function 22)."""
    rest = struct.pack(">H", offset) + mask + data
    return Request(bytes([MASK_WRITE]) + rest, echo=rest)


def writes(place: Register, data: bytes) -> list[Request]:
    """The requests of which one writes a place, the usual one first: a device may lack a function (exception 1)."""
    if place.bits:
        return [write_one(WRITE_COIL, place.offset, data), write_many(WRITE_COILS, place.offset, data)]
    if place.bit is not None:
        return [mask_write(place.offset, place.mask, data)]
    many = write_many(WRITE_REGISTERS, place.offset, data)
    return [write_one(WRITE_REGISTER, place.offset, data), many] if place.count == 1 else [many]
