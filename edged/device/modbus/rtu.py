"""A line of RTU: one request at a time, with silences between; on a serial port or behind TCP. A shell."""

import trio

from edged.device.mapper import PropertyError
from edged.device.modbus.address import Network, Patience, Serial
from edged.device.modbus.frame import RtuExchange
from edged.device.modbus.line import PIECE, GoneError, Line
from edged.device.modbus.pdu import Request, SilentError
from edged.device.modbus.serialport import SerialPort
from edged.errors import ProtocolError

QUIET_S = 0.02  # a line on which nothing comes for so long, and 3.5 characters, is at rest
BABBLE_S = 1.0  # a line that is not at rest after this is made anew


Wire = SerialPort | trio.SocketStream


class RtuLine(Line[Wire]):
    """A serial line, or one behind a converter (`Network`), which keeps the silences itself."""

    KIND = "cannot be opened"

    def __init__(self, address: Serial | Network) -> None:
        super().__init__()
        self._address = address
        self._free_at = 0.0
        self._at_rest = True
        serial = address if isinstance(address, Serial) else None
        self._gap_s = serial.gap_s if serial else 0.0
        self._character_s = serial.character_s if serial else 0.0

    async def _open(self) -> Wire:
        self._at_rest = True
        if isinstance(self._address, Serial):
            return SerialPort(self._address)
        return await trio.open_tcp_stream(self._address.ip, self._address.port)

    async def _ask(self, unit: int, request: Request, patience: Patience) -> bytes:
        asked = trio.current_time()
        async with self._turn:
            stream = await self._connected(asked)
            await self._rest(stream)
            exchange = RtuExchange(unit, request)
            self._at_rest = False
            try:
                found = await self._exchange(stream, exchange, patience)
                self._at_rest = True
            except PropertyError:
                self._at_rest = True
                raise
            except (trio.BrokenResourceError, trio.ClosedResourceError, GoneError) as error:
                self.close()
                raise GoneError(str(error) or "breaks the connection") from error
            finally:
                self._free_at = trio.current_time() + self._gap_s + patience.turnaround_s
        return found

    async def _exchange(self, stream: Wire, exchange: RtuExchange, patience: Patience) -> bytes:
        bytes_s = self._character_s * (len(exchange.outgoing) + exchange.longest)
        try:
            with trio.fail_after(patience.timeout_s + bytes_s):
                await stream.send_all(exchange.outgoing)
                while True:
                    data = await stream.receive_some(PIECE)
                    if not data:
                        self.close()
                        raise _ended(exchange.begun)
                    found = exchange.receive(data)
                    if found is not None:
                        break
        except trio.TooSlowError as error:
            after = f", but for {exchange.begun} bytes" if exchange.begun else ""
            raise SilentError(f"does not answer within {patience.timeout_s:g} s{after}") from error
        self.useful = True
        return found

    async def _rest(self, stream: Wire) -> None:
        """Wait until the next frame may begin; after a failure, until what is on its way has come and gone."""
        await trio.sleep_until(self._free_at)
        if self._at_rest:
            return
        with trio.move_on_after(BABBLE_S):
            while await self._hears(stream):
                pass
            self._at_rest = True
        if not self._at_rest:
            self.close()
            raise GoneError("does not stop to send what nobody asked for")

    async def _hears(self, stream: Wire) -> bool:
        """Whether anything comes within a moment."""
        heard = b""
        with trio.move_on_after(max(QUIET_S, self._gap_s)):
            try:
                heard = await stream.receive_some(PIECE)
            except PropertyError:
                self._at_rest = True
                raise
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self.close()
                raise GoneError("breaks the connection") from error
            if not heard:
                self.close()
                raise GoneError("closes the connection")
        return bool(heard)

    def close(self) -> None:
        """Close the connection at once; it is made again when somebody asks."""
        if isinstance(self._stream, SerialPort):
            self._stream.close()
        elif self._stream is not None:
            self._stream.socket.close()
        self._stream = None


def _ended(begun: int) -> GoneError | ProtocolError:
    if begun:
        return ProtocolError(f"closes the connection after {begun} bytes of an answer")
    return GoneError("closes the connection instead of an answer")
