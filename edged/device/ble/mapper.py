"""The Bluetooth LE mapper. A shell."""

from collections.abc import Sequence

import trio

from edged.device.aio import Aio, Batches
from edged.device.ble import layout
from edged.device.ble.layout import Address, Field
from edged.device.ble.radio import Link, Radio
from edged.device.mapper import Found, Heard, Mapper, Mappers, Want
from edged.model.meta import JSON
from edged.model.values import Value


class BleSession:
    """A device that is connected, or a beacon that is heard."""

    def __init__(self, aio: Aio, link: Link) -> None:
        self._aio, self._link = aio, link

    async def read(self, points: Sequence[Field]) -> list[Found]:
        """What it says."""
        return await self._aio.run(lambda: self._link.read(points))

    async def write(self, point: Field, value: Value) -> None:
        """Write a characteristic."""
        await self._aio.run(lambda: self._link.write(point, value))

    async def listen(
        self, wants: Sequence[Want[Field]], heard: Heard[Field], *, task_status: trio.TaskStatus[frozenset[Field]]
    ) -> None:
        """Take notifications and indications, or what a beacon advertises; what sends none is left to be read."""
        hearing = await self._aio.run(lambda: self._link.listen([want.point for want in wants]))
        task_status.started(hearing)
        while True:  # a lost connection is heard of here, too
            heard(await self._link.heard.receive())

    async def aclose(self) -> None:
        """Let it go."""
        await self._aio.run(self._link.close)


class Ble:
    """Bluetooth LE devices, on the adapters of this node."""

    def __init__(self, aio: Aio) -> None:
        self._aio = aio
        self._radios: dict[str, Radio] = {}

    def address(self, config: JSON) -> Address:
        """Where a device is."""
        return layout.address(config)

    def point(self, type_: str, config: JSON) -> Field:
        """Where a property is."""
        return layout.field(type_, config)

    async def connect(self, address: Address) -> BleSession:
        """Find the device, and connect to it unless it is a beacon."""
        radio = self._radios.setdefault(address.adapter, Radio(address.adapter))
        link = Link(address, radio, Batches())
        await self._aio.run(link.open)
        return BleSession(self._aio, link)


def make(mappers: Mappers) -> Mapper[Address, Field]:
    """The mapper of this node."""
    return Ble(mappers.aio)
