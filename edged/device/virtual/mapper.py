"""The mapper of virtual devices: it has the time and the files. A shell."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from edged.device.configdata import convert
from edged.device.mapper import Found, Mapper, Mappers, PropertyError, Sample, hears_nothing
from edged.device.virtual.signals import MAX_FILE, REPLAY, Generator, Signal, column, signal
from edged.model.meta import JSON
from edged.model.values import Value


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`spec.protocol.configData` of a device: nothing, as it is nowhere."""


class VirtualSession:
    """A device that is always there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._generators: dict[Signal, Generator] = {}

    async def read(self, points: Sequence[Signal]) -> list[Found]:
        """What they say now."""
        return [await self._read(point) for point in points]

    async def _read(self, point: Signal) -> Found:
        try:
            return Sample((await self._generator(point)).next(trio.current_time()))
        except PropertyError as error:
            return error

    async def write(self, point: Signal, value: Value) -> None:
        """A constant becomes `value`."""
        (await self._generator(point)).hold(value)

    listen = staticmethod(hears_nothing)

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _generator(self, point: Signal) -> Generator:
        if point not in self._generators:
            rows = await self._rows(point) if point.visitor.kind == REPLAY else []
            self._generators[point] = Generator(point, rows)
        return self._generators[point]

    async def _rows(self, point: Signal) -> list[str]:
        path = trio.Path(self._directory / str(point.visitor.file))
        try:
            async with await path.open("rb") as file:
                data = await file.read(MAX_FILE + 1)
        except OSError as error:
            raise PropertyError(f"{path}: {error.strerror}") from error
        if len(data) > MAX_FILE:
            raise PropertyError(f"{path}: larger than {MAX_FILE} bytes")
        try:
            return column(data, point.visitor.column)
        except PropertyError as error:
            raise PropertyError(f"{path} {error}") from error


class Virtual:
    """Virtual devices; the files that they replay are in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def address(self, config: JSON) -> Address:
        """Nowhere."""
        return convert(config, Address)

    def point(self, type_: str, config: JSON) -> Signal:
        """What a property says."""
        return signal(type_, config)

    async def connect(self, address: Address) -> VirtualSession:
        """Every connection begins anew."""
        return VirtualSession(self._directory)


def make(mappers: Mappers) -> Mapper[Address, Signal]:
    """The mapper of this node."""
    return Virtual(mappers.state_dir / "replay")
