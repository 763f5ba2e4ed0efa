"""A line of Modbus TCP: one connection, on which a unit that is late does not hold up the others. A shell."""

import trio

from edged.device.modbus.address import Network, Patience
from edged.device.modbus.frame import Outcome, TcpFrames
from edged.device.modbus.line import PIECE, GoneError, Line
from edged.device.modbus.pdu import Request, SilentError
from edged.errors import EdgedError, ProtocolError, UnreachableError

HOLD_S = 0.05  # a unit has the line to itself; then others ask, too, and its answer is known by its transaction


class _Waiting:
    """One who asked, and what came of it."""

    outcome: Outcome | UnreachableError | None = None


class TcpLine(Line[trio.SocketStream]):
    """One request at a time; several only while one of them is late, as a silent unit behind a gateway is."""

    KIND = "does not take a connection"

    def __init__(self, address: Network) -> None:
        super().__init__()
        self._address = address
        self._frames = TcpFrames()
        self._waiting: dict[int, _Waiting] = {}
        self._reading = False
        self._moved = trio.Event()  # something came, or nobody reads any more
        self._heard_at = 0.0

    async def _open(self) -> trio.SocketStream:
        self._frames = TcpFrames()
        return await trio.open_tcp_stream(self._address.ip, self._address.port)

    async def _ask(self, unit: int, request: Request, patience: Patience) -> bytes:
        asked = trio.current_time()
        mine = _Waiting()
        transaction = None
        try:
            async with self._turn:
                stream = await self._connected(asked)
                sent = trio.current_time()
                transaction, frame = self._frames.ask(unit, request)
                self._waiting[transaction] = mine
                await self._send(stream, frame, patience)
                with trio.move_on_after(min(HOLD_S, patience.timeout_s)):
                    await self._read_until(mine, stream)
                if mine.outcome is not None and patience.turnaround_s:
                    await trio.sleep(patience.turnaround_s)
            if mine.outcome is None:
                with trio.move_on_at(sent + patience.timeout_s):
                    await self._read_until(mine, stream)
        finally:
            if transaction is not None and self._waiting.get(transaction) is mine:
                del self._waiting[transaction]
                self._frames.forget(transaction)
        if mine.outcome is None:
            if not self._waiting and self._heard_at < sent:  # not a word from any unit: the connection may be dead
                self.close()
            raise SilentError(f"does not answer within {patience.timeout_s:g} s")
        if isinstance(mine.outcome, EdgedError):
            raise mine.outcome
        return mine.outcome

    async def _send(self, stream: trio.SocketStream, frame: bytes, patience: Patience) -> None:
        sent = False
        try:
            with trio.move_on_after(patience.timeout_s):
                await stream.send_all(frame)
                sent = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            sent = True
            self._end(GoneError("breaks the connection"))
        finally:
            if not sent:  # half a frame may be on its way
                self._end(GoneError("takes no requests"))

    async def _read_until(self, mine: _Waiting, stream: trio.SocketStream) -> None:
        """Until there is an outcome. Whoever waits reads for all; one at a time."""
        while mine.outcome is None:
            if self._reading:
                await self._moved.wait()
                continue
            self._reading = True
            try:
                await self._read(stream)
            finally:
                self._reading = False
                self._moved.set()
                self._moved = trio.Event()

    async def _read(self, stream: trio.SocketStream) -> None:
        try:
            data = await stream.receive_some(PIECE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if stream is self._stream:
                self._end(GoneError("breaks the connection"))
            return
        if not data:
            begun = self._frames.begun
            text = f"closes the connection {f'after {begun} bytes of' if begun else 'instead of'} an answer"
            self._end(ProtocolError(text) if begun else GoneError(text))
            return
        self._heard_at = trio.current_time()
        try:
            found = self._frames.receive(data)
        except ProtocolError as error:
            self._end(error)
            return
        for transaction, outcome in found:
            self._waiting.pop(transaction).outcome = outcome
            self.useful = True

    def _end(self, error: UnreachableError | ProtocolError) -> None:
        """The connection is of no use any more: whoever waits hears why."""
        if self._stream is not None:
            self._stream.socket.close()
            self._stream = None
        for each in self._waiting.values():
            each.outcome = error
        self._waiting.clear()

    def close(self) -> None:
        """Close the connection at once; it is made again when somebody asks."""
        self._end(GoneError("is let go"))
