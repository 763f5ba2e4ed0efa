"""Desired values against a DeviceModel: type, access mode and limits, at the door and before each write to a device."""

from collections.abc import Iterator

from edged.errors import Cause
from edged.model import causes
from edged.model.devices import Device, DeviceModel, ModelProperty
from edged.model.values import Value, decimal, from_text, outside

READ_WRITE = "ReadWrite"


def desired(model: ModelProperty, text: str) -> Value:
    """The value that a desired text means. ValueError says why devices of this model do not take it."""
    if model.access_mode != READ_WRITE:
        raise ValueError(f"the DeviceModel says accessMode {model.access_mode}: a desired value is not written")
    value = from_text(model.type, text)
    minimum, maximum = (decimal(limit) if limit else None for limit in (model.minimum, model.maximum))
    if wrong := outside(value, minimum, maximum):
        raise ValueError(f"{text} is {wrong}")
    return value


def refused(device: Device, model: DeviceModel, before: Device | None) -> Iterator[Cause]:
    """What the model refuses of a device's desired values; not of those that stood there `before`, when it allowed them."""
    modelled = {each.name: each for each in model.spec.properties}
    stood = {each.name: each.desired.value for each in before.spec.properties} if before is not None else {}
    for at, each in enumerate(device.spec.properties):
        text = each.desired.value
        if not text or each.name not in modelled or stood.get(each.name) == text:
            continue
        try:
            desired(modelled[each.name], text)
        except ValueError as error:
            yield causes.invalid(f"spec.properties[{at}].desired.value", text, str(error))
