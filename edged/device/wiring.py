"""A Device and its DeviceModel into what can be done with them: where to go, what to read and write, and what is wrong.

A mistake costs its own property and no other.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from edged.device.mapper import AnyMapper, Point
from edged.device.values import TYPES, Value, decimal, from_text, outside
from edged.errors import InvalidError
from edged.model.devices import Device, DeviceModel, DeviceProperty, ModelProperty

READ_WRITE = "ReadWrite"
MIN_CYCLE_MS = 10  # shorter cycles would only queue behind each other on a bus
MS = 1000.0


class Desired(NamedTuple):
    """What a property should be: the text as it was given, and the value as the device can hold it."""

    text: str
    value: Value


class Wired(NamedTuple):
    """A property that can be read. `refusal` says why its desired value is not written, "" when it may be."""

    name: str
    type: str
    point: Point
    minimum: Decimal | None
    maximum: Decimal | None
    collect_s: float
    report_s: float
    desired: Desired | None = None
    refusal: str = ""


class Wiring(NamedTuple):
    """All that is to be done with a device. `problems` name the field and say what is wrong with it.

    Without a `mapper` nothing can be done; the address is the mapper's own.
    """

    mapper: AnyMapper | None
    address: Any
    properties: tuple[Wired, ...]
    problems: tuple[str, ...]

    def refused(self) -> list[str]:
        """The desired values that are not written, and why."""
        return [f"{wired.name}: {wired.refusal}" for wired in self.properties if wired.refusal]


class _WiringError(Exception):
    """One or more problems, each with the path of its field."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__()
        self.problems = tuple(problems)


def wire(device: Device, model: DeviceModel | None, mapper_for: Callable[[str], AnyMapper]) -> Wiring:
    """The wiring of a device. `mapper_for` finds the mapper of a protocol (InvalidError when there is none)."""
    try:
        if model is None:
            missing = f'"{device.metadata.namespace}/{device.spec.device_model_ref.name}"'
            raise _WiringError([f"spec.deviceModelRef.name: there is no DeviceModel {missing}"])
        mapper = _checked("spec.protocol.protocolName", lambda: mapper_for(device.spec.protocol.protocol_name))
        address = _checked("spec.protocol.configData", lambda: mapper.address(device.spec.protocol.config_data))
    except _WiringError as error:
        return Wiring(None, None, (), error.problems)
    wired: dict[str, Wired] = {}
    problems: list[str] = []
    modelled = {each.name: each for each in model.spec.properties}
    for index, each in enumerate(device.spec.properties):
        path = f"spec.properties[{index}]"
        try:
            if each.name in wired:
                raise _WiringError([f'{path}.name: "{each.name}" is wired twice'])
            if each.name not in modelled:
                raise _WiringError([f'{path}.name: the DeviceModel {model.metadata.name} has no property "{each.name}"'])
            wired[each.name] = _wire(path, each, modelled[each.name], device, mapper)
        except _WiringError as error:
            problems += error.problems
    return Wiring(mapper, address, tuple(wired.values()), tuple(problems))


def _wire(path: str, each: DeviceProperty, model: ModelProperty, device: Device, mapper: AnyMapper) -> Wired:
    protocol = each.visitors.protocol_name
    if protocol and protocol != device.spec.protocol.protocol_name:
        text = f'"{protocol}" is not the device\'s protocol, "{device.spec.protocol.protocol_name}"'
        raise _WiringError([f"{path}.visitors.protocolName: {text}"])
    if model.type not in TYPES:
        raise _WiringError([f'{path}.name: the DeviceModel says type "{model.type}": expected one of {", ".join(TYPES)}'])
    wired = Wired(
        each.name,
        model.type,
        _checked(f"{path}.visitors.configData", lambda: mapper.point(model.type, each.visitors.config_data)),
        _limit(path, "minimum", model.minimum),
        _limit(path, "maximum", model.maximum),
        _cycle(f"{path}.collectCycle", each.collect_cycle),
        _cycle(f"{path}.reportCycle", each.report_cycle),
    )
    if not each.desired.value:
        return wired
    try:
        return wired._replace(desired=_desired(wired, model, each.desired.value))
    except ValueError as error:
        return wired._replace(refusal=str(error))


def _desired(wired: Wired, model: ModelProperty, text: str) -> Desired:
    if model.access_mode != READ_WRITE:
        raise ValueError(f"the DeviceModel says accessMode {model.access_mode}: a desired value is not written")
    if not wired.point.writable:
        raise ValueError("the device takes no writes there")
    value = from_text(wired.type, text)
    if wrong := outside(value, wired.minimum, wired.maximum):
        raise ValueError(f"{text} is {wrong}")
    return Desired(text, wired.point.nearest(value))


def meaning(wired: Wired, text: str) -> Value | None:
    """The value that a text stands for at this property, as the device holds it; None when it stands for none."""
    try:
        return wired.point.nearest(from_text(wired.type, text)) if text else None
    except ValueError:
        return None


def _limit(path: str, name: str, text: str) -> Decimal | None:
    try:
        return decimal(text) if text else None
    except ValueError as error:
        raise _WiringError([f"{path}.name: the DeviceModel's {name}: {error}"]) from error


def _cycle(path: str, milliseconds: int) -> float:
    if milliseconds < MIN_CYCLE_MS:
        raise _WiringError([f"{path}: expected at least {MIN_CYCLE_MS} ms, got {milliseconds}"])
    return milliseconds / MS


def _checked(path: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except InvalidError as error:
        fields = (f"{path}.{cause.field}" if cause.field else path for cause in error.causes)
        problems = [f"{field}: {cause.message}" for field, cause in zip(fields, error.causes, strict=True)]
        raise _WiringError(problems or [f"{path}: {error}"]) from error
