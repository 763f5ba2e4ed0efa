"""A device tried once: connected, read, and let go. A shell."""

from collections.abc import Callable

import trio

from edged.device.mapper import AnyMapper, PropertyError
from edged.device.wiring import wire
from edged.model.devices import Device, DeviceModel
from edged.model.values import outside, to_text

CLOSE_S = 2.0  # a connection that cannot be closed in this time is dropped


async def trial(
    device: Device, model: DeviceModel | None, find: Callable[[str], AnyMapper]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """(property, value, unit, what is wrong with it) of all that is wired, and what is wired wrong. Nothing is written.

    UnreachableError and ProtocolError as the mapper has them.
    """
    wiring = wire(device, model, find)
    if wiring.mapper is None or not wiring.properties:
        return [], list(wiring.problems) or ["the device has no properties"]
    session = await wiring.mapper.connect(wiring.address)
    try:
        found = await session.read([wired.point for wired in wiring.properties])
    finally:
        with trio.move_on_after(CLOSE_S, shield=True):
            await session.aclose()
    units = {each.name: each.unit for each in model.spec.properties} if model is not None else {}
    rows: list[tuple[str, ...]] = []
    for wired, what in zip(wiring.properties, found, strict=True):
        if isinstance(what, PropertyError):
            rows.append((wired.name, "", "", str(what)))
        else:
            wrong = outside(what.value, wired.minimum, wired.maximum)
            rows.append((wired.name, to_text(what.value), units.get(wired.name, ""), wrong))
    return rows, list(wiring.problems)
