"""One Modbus TCP request and its answer, without I/O (Modbus Messaging on TCP/IP 1.0b, section 3.1).

An answer is checked byte for byte before pymodbus decodes it: transaction, protocol, length, unit, function, byte count.
"""

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadCoilsResponse, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from edged.device.mapper import PropertyError
from edged.device.registers import COIL, DISCRETE, HOLDING, INPUT, Register, Words
from edged.errors import ProtocolError, UnreachableError

HEADER = 7  # bytes: transaction, protocol, length, unit
ECHO = 4  # bytes of data that confirm a write: its address, and its value or count
EXCEPTION = 0x80  # this bit of the function code says that the answer is an exception
GATEWAY_PATH, GATEWAY_TARGET = 0x0A, 0x0B

EXCEPTIONS = {  # Modbus Application Protocol 1.1b3, section 7
    0x01: "illegal function",
    0x02: "illegal data address",
    0x03: "illegal data value",
    0x04: "server device failure",
    0x05: "acknowledge, still busy",
    0x06: "server device busy",
    0x08: "memory parity error",
    GATEWAY_PATH: "gateway path unavailable",
    GATEWAY_TARGET: "the device behind the gateway does not respond",
}

READS: dict[str, type[ModbusPDU]] = {
    COIL: ReadCoilsRequest,
    DISCRETE: ReadDiscreteInputsRequest,
    HOLDING: ReadHoldingRegistersRequest,
    INPUT: ReadInputRegistersRequest,
}

_FRAMER = FramerSocket(DecodePDU(is_server=False))


class Exchange:
    """A request, and the parser of its answer: feed `receive` until it returns the words.

    `count` words are asked for, in `size` bytes; a write asks for none, and its first 4 bytes of data are echoed.
    """

    def __init__(self, request: ModbusPDU, count: int = 0, size: int = 0) -> None:
        self.outgoing = _FRAMER.buildFrame(request)
        self._request, self._count, self._size = request, count, size
        self._buffer = b""

    @classmethod
    def read(cls, register: Register, unit: int, transaction: int) -> "Exchange":
        """Asks for the words of a register or coil."""
        visitor = register.visitor
        kind = READS[visitor.register]
        request = kind(address=visitor.offset, count=visitor.limit, dev_id=unit, transaction_id=transaction)
        return cls(request, visitor.limit, (visitor.limit + 7) // 8 if register.bits else 2 * visitor.limit)

    @classmethod
    def write(cls, register: Register, words: Words, unit: int, transaction: int) -> "Exchange":
        """Writes one coil (function 5), one holding register (6) or several (16)."""
        offset = register.visitor.offset
        if register.bits:
            return cls(WriteSingleCoilRequest(address=offset, bits=[bool(words[0])], dev_id=unit, transaction_id=transaction))
        kind = WriteSingleRegisterRequest if len(words) == 1 else WriteMultipleRegistersRequest
        return cls(kind(address=offset, registers=list(words), dev_id=unit, transaction_id=transaction))

    def receive(self, data: bytes) -> list[int] | None:
        """The answer's words once it is complete, None before; [] confirms a write.

        ProtocolError: this is no answer to the request. PropertyError: the device refuses. UnreachableError: a gateway
        answers in the device's stead.
        """
        self._buffer += data
        self._check_header()
        if len(self._buffer) <= HEADER:
            return None
        whole = self._whole()
        if len(self._buffer) > whole:
            raise ProtocolError(f"sends {len(self._buffer) - whole} bytes more than its answer")
        return self._words() if len(self._buffer) == whole else None

    def ended(self) -> UnreachableError | ProtocolError:
        """What it means when the connection ends here."""
        if not self._buffer:
            return UnreachableError("closes the connection instead of an answer")
        return ProtocolError(f"closes the connection after {len(self._buffer)} bytes of an answer")

    def _check_header(self) -> None:
        """Each field as soon as it is there: no wait for the rest of a frame that is none."""
        fields = (
            ("transaction", 0, 2, self._request.transaction_id),
            ("protocol", 2, 4, 0),
            ("unit", 6, 7, self._request.dev_id),
        )
        for name, start, end, expected in fields:
            if len(self._buffer) >= end and (got := int.from_bytes(self._buffer[start:end], "big")) != expected:
                raise ProtocolError(f"answers with {name} {got}, asked was {expected}")

    def _whole(self) -> int:
        """The answer's length in bytes, from its function code; the lengths that it announces must agree."""
        function = self._buffer[HEADER]
        if function & ~EXCEPTION != self._request.function_code:
            raise ProtocolError(f"answers function {self._request.function_code} with function {function}")
        read = self._count > 0 and not function & EXCEPTION
        if read and len(self._buffer) > HEADER + 1 and (got := self._buffer[HEADER + 1]) != self._size:
            raise ProtocolError(f"answers with {got} bytes of data, asked were {self._size}")
        whole = HEADER + 1 + (1 if function & EXCEPTION else 1 + self._size if read else ECHO)
        announced = int.from_bytes(self._buffer[4:6], "big")
        if announced != whole - 6:
            raise ProtocolError(f"announces {announced} bytes, its answer takes {whole - 6}")
        return whole

    def _words(self) -> list[int]:
        try:
            _, answer = _FRAMER.handleFrame(self._buffer, self._request.dev_id, self._request.transaction_id)
        except ModbusException as error:
            raise ProtocolError(f"answers with what is no Modbus: {error}") from error
        if isinstance(answer, ExceptionResponse):
            self._refused(answer.exception_code)
        if answer is None:
            raise ProtocolError(f"answers with what is no Modbus: {self._buffer.hex(' ')}")
        if not self._count and self._buffer[-ECHO:] != self.outgoing[HEADER + 1 : HEADER + 1 + ECHO]:
            raise ProtocolError("confirms a write that was not asked for")
        words = answer.bits if isinstance(answer, ReadCoilsResponse) else answer.registers
        return [int(word) for word in words[: self._count]]

    @staticmethod
    def _refused(code: int) -> None:
        text = f"answers with exception {code} ({EXCEPTIONS.get(code, 'unknown')})"
        if code in {GATEWAY_PATH, GATEWAY_TARGET}:
            raise UnreachableError(text)
        raise PropertyError(text)
