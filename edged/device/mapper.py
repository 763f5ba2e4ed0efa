"""What every mapper fulfils, and the table of mappers by protocolName. A mapper is loaded when the first device needs it."""

import importlib
from typing import Any, Protocol, TypeVar

from edged.device.values import Value
from edged.errors import Cause, EdgedError, InvalidError
from edged.model.meta import JSON


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


P_contra = TypeVar("P_contra", contravariant=True)
A = TypeVar("A")
P = TypeVar("P", bound=Point)


class Session(Protocol[P_contra]):
    """A connected device, used by one task. Each call ends within the mapper's own timeout.

    UnreachableError (gone, or silent) and ProtocolError (its answer follows no protocol) end the session: close it.
    PropertyError does not.
    """

    async def read(self, point: P_contra) -> Value:
        """The value at a point."""

    async def write(self, point: P_contra, value: Value) -> None:
        """Write what `point.nearest` accepted; returns when the device has confirmed it."""

    async def aclose(self) -> None:
        """Let the device go."""


class Mapper(Protocol[A, P]):
    """Speaks one protocol. `A` is where a device is, `P` where a property is on it; both are made from configData."""

    def address(self, config: JSON) -> A:
        """Where a device is, from `spec.protocol.configData`. InvalidError: a cause for each field, relative to it."""

    def point(self, type_: str, config: JSON) -> P:
        """Where a property of a model type is, from `visitors.configData`. InvalidError as above."""

    async def connect(self, address: A) -> Session[P]:
        """Connect to a device. UnreachableError when it does not answer."""


AnyMapper = Mapper[Any, Any]  # addresses and points of a mapper only ever go back to the same mapper

MODULES = {"modbus-tcp": "edged.device.modbus", "modbus": "edged.device.modbus"}


def mapper_for(protocol_name: str) -> AnyMapper:
    """The mapper of a `protocolName`, loaded now if it was not. InvalidError when there is none."""
    module = MODULES.get(protocol_name)
    if module is None:
        known = ", ".join(sorted(MODULES))
        text = f'"{protocol_name}" is no protocol that this node speaks: expected one of {known}'
        raise InvalidError(text, [Cause("", "FieldValueNotSupported", text)])
    mapper: AnyMapper = importlib.import_module(module).MAPPER
    return mapper
