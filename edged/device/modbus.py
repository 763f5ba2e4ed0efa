"""The Modbus TCP mapper: one connection a device, one request at a time. A shell."""

from typing import Annotated

import msgspec
import trio

from edged.device.configdata import convert, invalid
from edged.device.frame import Exchange
from edged.device.mapper import Mapper
from edged.device.registers import Register, register
from edged.device.values import Value
from edged.errors import Cause, ProtocolError, UnreachableError
from edged.model.meta import JSON

CONNECT_S = 5.0  # a device on a slow radio link answers a SYN within 3
ANSWER_S = 3.0  # for the whole answer: a drip of bytes does not prolong it
PIECE = 512  # bytes; a frame has at most 260
TRANSACTIONS = 65536


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`spec.protocol.configData` of a device, with KubeEdge's names: where it listens, and its unit there."""

    ip: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 502
    slave_id: Annotated[int, msgspec.Meta(ge=0, le=255)] = msgspec.field(name="slaveID", default=1)

    def __str__(self) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{host}:{self.port} unit {self.slave_id}"


class ModbusSession:
    """A connection to one unit. Its answers come in the order of the requests, one at a time."""

    def __init__(self, stream: trio.SocketStream, address: Address) -> None:
        self._stream, self._address = stream, address
        self._transaction = 0

    async def read(self, point: Register) -> Value:
        """Read the registers of a property."""
        return point.decode(await self._ask(Exchange.read(point, self._address.slave_id, self._next())))

    async def write(self, point: Register, value: Value) -> None:
        """Write the registers of a property."""
        await self._ask(Exchange.write(point, point.encode(value), self._address.slave_id, self._next()))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    def _next(self) -> int:
        self._transaction = (self._transaction + 1) % TRANSACTIONS
        return self._transaction

    async def _ask(self, exchange: Exchange) -> list[int]:
        try:
            with trio.fail_after(ANSWER_S):
                await self._stream.send_all(exchange.outgoing)
                while True:
                    data = await self._stream.receive_some(PIECE)
                    if not data:
                        raise exchange.ended()
                    words = exchange.receive(data)
                    if words is not None:
                        return words
        except trio.TooSlowError as error:
            raise UnreachableError(f"{self._address} does not answer within {ANSWER_S:g} s") from error
        except trio.BrokenResourceError as error:
            raise UnreachableError(f"{self._address} breaks the connection") from error
        except ProtocolError as error:
            raise ProtocolError(f"{self._address} {error}") from error
        except UnreachableError as error:
            raise UnreachableError(f"{self._address} {error}") from error


class Modbus:
    """Modbus TCP: coils, discrete inputs, input and holding registers."""

    def address(self, config: JSON) -> Address:
        """Where the device is. A serial line (RTU) is not spoken yet, and said so."""
        if "ip" not in config and "serialPort" in config:
            text = "Modbus RTU is not supported, only Modbus TCP: give ip and port"
            raise invalid([Cause("serialPort", "FieldValueNotSupported", text)])
        address = convert(config, Address)
        if not address.ip:
            raise invalid([Cause("ip", "FieldValueInvalid", "expected an IP address or a host name")])
        return address

    def point(self, type_: str, config: JSON) -> Register:
        """Where a property is."""
        return register(type_, config)

    async def connect(self, address: Address) -> ModbusSession:
        """Open the TCP connection."""
        try:
            with trio.fail_after(CONNECT_S):
                return ModbusSession(await trio.open_tcp_stream(address.ip, address.port), address)
        except trio.TooSlowError as error:
            raise UnreachableError(f"{address} does not take a connection within {CONNECT_S:g} s") from error
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            raise UnreachableError(f"{address} does not take a connection: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    """In words; trio wraps the error of each address that it tried."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    found = cause if isinstance(cause, OSError) else error
    return (found.strerror if isinstance(found, OSError) else None) or str(found)


MAPPER: Mapper[Address, Register] = Modbus()
