"""The Modbus mapper: units on lines, their properties read in blocks. A shell."""

from collections import deque
from collections.abc import Callable, Sequence

import trio

from edged.device.mapper import Found, Mapper, Mappers, PropertyError, hears_nothing
from edged.device.modbus.address import Address, Network, Serial, address
from edged.device.modbus.blocks import BlockRead, Place, block_reads, cuts_of
from edged.device.modbus.line import AnyLine
from edged.device.modbus.pdu import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    WRITE_REGISTER,
    RefusedError,
    Request,
    SilentError,
    read,
    write_one,
    writes,
)
from edged.device.modbus.registers import Register
from edged.device.modbus.rtu import RtuLine
from edged.device.modbus.tcp import TcpLine
from edged.device.modbus.visitor import register
from edged.errors import ProtocolError, UnreachableError
from edged.model.meta import JSON
from edged.model.values import Value

MAX_PLANS = 16  # sets of properties that are read together: one for each collectCycle, and a few while a device is tried
AGAIN_FIRST_S, AGAIN_CAP_S = 2.0, 60.0  # a register that does not answer, on a device that answers others


class ModbusSession:
    """One unit, on a line that it may share with others.

    A block that the device refuses is read in parts from then on; so is one that it does not answer while it answers
    others. A single place that is not answered is asked for ever more rarely, and the rest goes on.
    """

    def __init__(self, line: AnyLine, address: Address, release: Callable[[], None]) -> None:
        self._line, self._address, self._release = line, address, release
        self._cuts: set[Place] = set()
        self._plans: dict[tuple[Register, ...], list[BlockRead]] = {}
        self._mute: dict[Place, tuple[float, float]] = {}  # not before this time again, and how long after that
        self._lacks: set[int] = set()  # functions
        self._good: Request | None = None  # a small read that was answered

    async def read(self, points: Sequence[Register]) -> list[Found]:
        """Read the places of properties, with as few requests as the device allows."""
        found: list[Found] = [PropertyError("was not read")] * len(points)
        reads = deque(self._plan(tuple(points)))
        answered = False
        while reads:
            each = reads.popleft()
            if self._is_mute(each.block.places):
                each.fail(found, PropertyError(self._silence()))
                continue
            try:
                each.fill(found, await self._ask(each.request))
            except RefusedError as error:
                answered = True
                parts = self._cut(each) if error.code in {ILLEGAL_ADDRESS, ILLEGAL_VALUE} else []
                if not parts:
                    each.fail(found, error)
                reads.extendleft(reversed(parts))
            except SilentError as error:
                answered = answered or await self._is_there()
                if not answered:
                    raise UnreachableError(f"{self._address} {error}") from error
                if not self._cut(each):
                    self._mute_more(each.block.places[0])
                each.fail(found, PropertyError(str(error)))
            else:
                answered = True
                self._mute.pop(each.block.places[0], None)
                self._good = read(*each.block.places[0])
        return found

    async def write(self, point: Register, value: Value) -> None:
        """Write the registers of a property, with another function when the device lacks the usual one."""
        data = point.encode(value)
        refused = PropertyError("has no function to write this")
        for request in writes(point, data):
            if request.pdu[0] in self._lacks:
                continue
            try:
                await self._ask_alone(request)
            except RefusedError as error:
                if error.code != ILLEGAL_FUNCTION:
                    raise
                self._lacks.add(request.pdu[0])
                refused = error
            else:
                return
        if point.bit is None:
            raise refused
        word = await self._ask_alone(read(point.area, point.offset, 1))
        merged = bytes(old & keep | new for old, keep, new in zip(word, point.mask, data, strict=True))
        await self._ask_alone(write_one(WRITE_REGISTER, point.offset, merged))

    listen = staticmethod(hears_nothing)

    async def aclose(self) -> None:
        """Let the line go; the last one closes it."""
        await trio.lowlevel.checkpoint()
        self._release()

    def _plan(self, points: tuple[Register, ...]) -> list[BlockRead]:
        found = self._plans.get(points)
        if found is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            found = self._plans[points] = block_reads(points, self._cuts, self._address.max_gap)
        return found

    def _cut(self, each: BlockRead) -> list[BlockRead]:
        """The parts in which a block is read from now on; none when it is one place."""
        cuts = cuts_of(each.block)
        if not cuts:
            return []
        self._cuts.update(cuts)
        self._plans.clear()
        return each.parts(self._cuts, self._address.max_gap)

    def _is_mute(self, places: Sequence[Place]) -> bool:
        return len(places) == 1 and places[0] in self._mute and trio.current_time() < self._mute[places[0]][0]

    def _mute_more(self, place: Place) -> None:
        _, wait_s = self._mute.get(place, (0.0, AGAIN_FIRST_S))
        self._mute[place] = (trio.current_time() + wait_s, min(AGAIN_CAP_S, 2 * wait_s))

    def _silence(self) -> str:
        return f"does not answer within {self._address.patience.timeout_s:g} s"

    async def _is_there(self) -> bool:
        """Whether a unit that left a read unanswered still answers what it answered before."""
        if self._good is None:
            return False
        try:
            await self._ask(self._good)
        except SilentError:
            self._good = None
            return False
        return True

    async def _ask_alone(self, request: Request) -> bytes:
        try:
            return await self._ask(request)
        except SilentError as error:
            raise UnreachableError(f"{self._address} {error}") from error

    async def _ask(self, request: Request) -> bytes:
        """What the device answers. SilentError and RefusedError as they are; other errors with its name."""
        patience = self._address.patience
        if self._good is None:  # who did not answer yet does not hold up its line with retries
            patience = patience._replace(retries=0)
        try:
            return await self._line.ask(self._address.unit, request, patience)
        except SilentError:
            raise
        except ProtocolError as error:
            raise ProtocolError(f"{self._address} {error}") from error
        except UnreachableError as error:
            raise UnreachableError(f"{self._address} {error}") from error


class Modbus:
    """Modbus TCP, RTU, and RTU over TCP. Devices with the same port share a connection."""

    def __init__(self) -> None:
        self._lines: dict[Network | Serial, AnyLine] = {}

    def address(self, config: JSON) -> Address:
        """Where a device is."""
        return address(config)

    def point(self, type_: str, config: JSON) -> Register:
        """Where a property is."""
        return register(type_, config)

    async def connect(self, address: Address) -> ModbusSession:
        """Connect to the line of a device. Whether the unit is there shows when it is read."""
        where = address.line
        line = self._lines.get(where)
        if line is None:
            line = RtuLine(where) if isinstance(where, Serial) or where.rtu else TcpLine(where)
            self._lines[where] = line
        line.users += 1
        session = ModbusSession(line, address, lambda: self._release(where, line))
        connected = False
        try:
            await line.connect()
            connected = True
        except UnreachableError as error:
            raise UnreachableError(f"{address} {error}") from error
        finally:
            if not connected:
                self._release(where, line)
        return session

    def _release(self, where: Network | Serial, line: AnyLine) -> None:
        line.users -= 1
        if not line.users:
            line.close()
            del self._lines[where]


def make(_mappers: Mappers) -> Mapper[Address, Register]:
    """The mapper; it needs nothing of the node."""
    return Modbus()
