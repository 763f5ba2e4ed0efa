"""What every mapper fulfils, and the table of mappers by protocolName. A mapper is loaded when the first device needs it."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
import trio

from edged.errors import Cause, EdgedError, InvalidError
from edged.model.meta import JSON
from edged.model.values import Value

if TYPE_CHECKING:
    from edged.device.aio import Aio


class PropertyError(EdgedError):
    """The device answers, but not with a usable value of this property: it refuses, or holds no value of the type.

    Its other properties are not affected.
    """


class Point(Protocol):
    """Where a property is on its device, and how its value is written there. Frozen; equal when they mean the same."""

    @property
    def writable(self) -> bool:
        """Whether the device takes writes at this place."""

    def nearest(self, value: Value) -> Value:
        """`value` as the device will read it back. ValueError, with what could be held, when the place cannot hold it."""


A = TypeVar("A")
P = TypeVar("P", bound=Point)


class Sample(msgspec.Struct, frozen=True, gc=False):
    """A value, and when the device says it had it, in seconds since 1970; None where the protocol has no times.

    `gap`: of what the device was to send by itself, values before this one were lost.
    """

    value: Value
    wall: float | None = None
    gap: bool = False


Found = Sample | PropertyError  # what is at a point
Heard = Callable[[Sequence[tuple[P, Found]]], None]  # takes what a device sends by itself, in its order: what came at once


class Want(NamedTuple, Generic[P]):
    """A point to listen to: how often its value is wanted, in seconds, and the change up to which it is not."""

    point: P
    cycle_s: float
    deadband: Decimal


@runtime_checkable
class Calls(Protocol):
    """A session of a protocol that has methods of its own."""

    async def call(self, method: str, arguments: Sequence[Value]) -> Sequence[Value]:
        """Call a method of the device by its name in `spec.methods`. PropertyError: it refuses, or has no such method."""


class Session(Protocol[P]):
    """A connected device, used by one task that reads and writes and one that listens.

    A call ends within the mapper's own timeout. UnreachableError (gone, or silent) and ProtocolError (its answer follows
    no protocol) end the session: close it. PropertyError does not.
    """

    async def read(self, points: Sequence[P]) -> Sequence[Found]:
        """What is at these points, in their order; with as few requests as the protocol allows."""

    async def write(self, point: P, value: Value) -> None:
        """Write what `point.nearest` accepted; returns when the device has confirmed it. PropertyError: it refuses."""

    async def listen(self, wants: Sequence[Want[P]], heard: Heard[P], *, task_status: trio.TaskStatus[frozenset[P]]) -> None:
        """Start with those of the points that the device will send by itself: they are not read. Each value goes to `heard`.

        Until cancelled, or the session ends; returns when there is nothing to hear (`hears_nothing`).
        """

    async def aclose(self) -> None:
        """Let the device go."""


async def hears_nothing(wants: Sequence[Want[P]], heard: Heard[P], *, task_status: trio.TaskStatus[frozenset[P]]) -> None:
    """The `listen` of a protocol in which a device answers, and says nothing by itself."""
    task_status.started(frozenset())


class Mapper(Protocol[A, P]):
    """Speaks one protocol. `A` is where a device is, `P` where a property is on it; both are made from configData."""

    def address(self, config: JSON) -> A:
        """Where a device is, from `spec.protocol.configData`. InvalidError: a cause for each field, relative to it."""

    def point(self, type_: str, config: JSON) -> P:
        """Where a property of a model type is, from `visitors.configData`. InvalidError as above."""

    async def connect(self, address: A) -> Session[P]:
        """Connect to a device. UnreachableError when it does not answer."""


AnyMapper = Mapper[Any, Any]  # addresses and points of a mapper only ever go back to the same mapper

_MODBUS = "edged.device.modbus.session"  # one for all: where a device is says how it is spoken to
# Each has `make(mappers)`, which makes the mapper; `mappers` gives it what it shares with others.
MODULES = {
    "modbus": _MODBUS,
    "modbus-rtu": _MODBUS,
    "modbus-tcp": _MODBUS,
    "bluetooth": "edged.device.ble.mapper",
    "opcua": "edged.device.opcua.mapper",
    "virtual": "edged.device.virtual.mapper",
    "mqtt": "edged.device.external",
    "external": "edged.device.external",
}


class Mappers:
    """The mappers of this node by `protocolName`, each loaded and made when first needed."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._made: dict[str, AnyMapper] = {}
        self._offered: Mapping[str, AnyMapper] = {}
        self._aio: Aio | None = None

    def find(self, protocol_name: str) -> AnyMapper:
        """The mapper of a protocol. InvalidError when there is none."""
        if protocol_name in self._offered:
            return self._offered[protocol_name]
        module = MODULES.get(protocol_name)
        if module is None:
            known = ", ".join(sorted(MODULES))
            text = f'"{protocol_name}" is no protocol that this node speaks: expected one of {known}'
            raise InvalidError(text, [Cause("", "FieldValueNotSupported", text)])
        if module not in self._made:
            self._made[module] = importlib.import_module(module).make(self)
        return self._made[module]

    def offer(self, mappers: Mapping[str, AnyMapper]) -> bool:
        """These come from outside, before our own of the same protocols. Whether that is another offer than before."""
        before, self._offered = self._offered, mappers
        return before.keys() != mappers.keys()

    @property
    def aio(self) -> "Aio":
        """The loop that the libraries made for asyncio share."""
        if self._aio is None:
            self._aio = importlib.import_module("edged.device.aio").Aio()
        return self._aio

    async def aclose(self) -> None:
        """End that loop, and with it all that is left on it."""
        if self._aio is not None:
            await self._aio.aclose()
