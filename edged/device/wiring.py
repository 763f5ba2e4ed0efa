"""A Device and its DeviceModel into what can be done with them: where to go, what to read and write, and what is wrong.

A mistake costs its own property and no other.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from edged.device.alarms import Limit, limit_of
from edged.device.external import External, Told
from edged.device.mapper import AnyMapper, Point, Sample
from edged.device.sampling import Strategy
from edged.device.secrets import Find, signed
from edged.errors import InvalidError
from edged.model.desired import desired
from edged.model.devices import Device, DeviceModel, DeviceProperty, ModelProperty
from edged.model.formula import Formula
from edged.model.meta import JSON
from edged.model.values import TYPES, Value, decimal, from_text, outside

MIN_CYCLE_MS = 10  # shorter cycles would only queue behind each other on a bus
MS = 1000.0


class Desired(NamedTuple):
    """What a property should be: the text as it was given, and the value as the device can hold it."""

    text: str
    value: Value


class Wired(NamedTuple):
    """A property that can be read, or computed (its point is a Formula).

    `refusal` says why its desired value is not written, "" when it may be.
    """

    name: str
    type: str
    point: Point
    minimum: Decimal | None
    maximum: Decimal | None
    collect_s: float
    report_s: float
    strategy: Strategy = Strategy()
    desired: Desired | None = None
    refusal: str = ""
    read_back: bool = True
    alarms: tuple[Limit, ...] = ()


class Wiring(NamedTuple):
    """All that is to be done with a device. `problems` name the field and say what is wrong with it.

    Without a `mapper` nothing can be done; the address is the mapper's own. `refresh_s` is how often the status is to be
    written although nothing changed, 0 when the device does not say. The `computed` are no places on the device.
    """

    mapper: AnyMapper | None
    address: Any
    properties: tuple[Wired, ...]
    problems: tuple[str, ...]
    refresh_s: float = 0.0
    computed: tuple[Wired, ...] = ()

    @property
    def external(self) -> bool:
        """Whether the values come from outside."""
        return isinstance(self.mapper, External)

    def refused(self) -> list[str]:
        """The desired values that are not written, and why."""
        return [f"{wired.name}: {wired.refusal}" for wired in (*self.properties, *self.computed) if wired.refusal]


class _WiringError(Exception):
    """One or more problems, each with the path of its field."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__()
        self.problems = tuple(problems)


def wire(
    device: Device, model: DeviceModel | None, mapper_for: Callable[[str], AnyMapper], secret: Find = lambda _: None
) -> Wiring:
    """The wiring of a device. `mapper_for` finds the mapper of a protocol (InvalidError when there is none)."""
    try:
        if model is None:
            missing = f'"{device.metadata.namespace}/{device.spec.device_model_ref.name}"'
            raise _WiringError([f"spec.deviceModelRef.name: there is no DeviceModel {missing}"])
        mapper = _checked("spec.protocol.protocolName", lambda: mapper_for(device.spec.protocol.protocol_name))
        address = _checked("spec.protocol.configData", lambda: mapper.address(signed(_address(device, model), secret)))
    except _WiringError as error:
        return Wiring(None, None, (), error.problems)
    wired: dict[str, Wired] = {}
    problems: list[str] = []
    modelled = {each.name: each for each in model.spec.properties}
    for index, each in enumerate(properties(device, model)):
        listed = index < len(device.spec.properties)
        path = f"spec.properties[{index}]" if listed else f"the DeviceModel's {each.name}"
        try:
            if each.name in wired:
                raise _WiringError([f'{path}.name: "{each.name}" is wired twice'])
            if each.name not in modelled:
                raise _WiringError([f'{path}.name: the DeviceModel {model.metadata.name} has no property "{each.name}"'])
            wired[each.name] = _wire(path, each, modelled[each.name], device, mapper)
        except _WiringError as error:
            problems += error.problems
    report = device.spec.state_report
    refresh_s = report.report_cycle / MS if report.report_to_cloud else 0.0
    read = tuple(each for each in wired.values() if not isinstance(each.point, Formula))
    computed = tuple(each for each in wired.values() if isinstance(each.point, Formula))
    return Wiring(mapper, address, read, tuple(problems), refresh_s, computed)


def properties(device: Device, model: DeviceModel) -> tuple[DeviceProperty, ...]:
    """The properties of a device: those that it lists, and all others for which the model has a place, or a formula."""
    listed = {each.name for each in device.spec.properties}
    more = [
        each for each in model.spec.properties if each.name not in listed and (each.visitors.config_data or each.expression)
    ]
    return *device.spec.properties, *(DeviceProperty(each.name) for each in more)


def _address(device: Device, model: DeviceModel) -> JSON:
    return {**model.spec.protocol_config_data, **device.spec.protocol.config_data}


def _wire(path: str, each: DeviceProperty, model: ModelProperty, device: Device, mapper: AnyMapper) -> Wired:
    protocol = each.visitors.protocol_name
    if protocol and protocol != device.spec.protocol.protocol_name:
        text = f'"{protocol}" is not the device\'s protocol, "{device.spec.protocol.protocol_name}"'
        raise _WiringError([f"{path}.visitors.protocolName: {text}"])
    if model.type not in TYPES:
        raise _WiringError([f'{path}.name: the DeviceModel says type "{model.type}": expected one of {", ".join(TYPES)}'])
    config = {**model.visitors.config_data, **each.visitors.config_data}
    wired = Wired(
        each.name,
        model.type,
        _formula(path, model)
        if model.expression
        else _checked(f"{path}.visitors.configData", lambda: mapper.point(model.type, config)),
        _limit(f"{path}.name: the DeviceModel's minimum", model.minimum),
        _limit(f"{path}.name: the DeviceModel's maximum", model.maximum),
        _cycle(f"{path}.collectCycle", each.collect_cycle),
        _cycle(f"{path}.reportCycle", each.report_cycle),
    )
    deadband = _limit(f"{path}.deadband", each.deadband) or Decimal(0)
    strategy = Strategy(each.report_strategy, wired.report_s, deadband)
    alarms = _alarms(path, each, model)
    wired = wired._replace(strategy=strategy, read_back=each.read_back, alarms=alarms)
    if not each.desired.value:
        return wired
    try:
        return wired._replace(desired=wanted(wired, model, each.desired.value))
    except ValueError as error:
        return wired._replace(refusal=str(error))


def _formula(path: str, model: ModelProperty) -> Formula:
    try:
        return Formula(model.expression)
    except ValueError as error:
        raise _WiringError([f"{path}.name: the DeviceModel's expression: {error}"]) from error


def _alarms(path: str, each: DeviceProperty, model: ModelProperty) -> tuple[Limit, ...]:
    try:
        return tuple(limit_of(alarm) for alarm in each.alarms or model.alarms)
    except ValueError as error:
        raise _WiringError([f"{path}.alarms: {error}"]) from error


def wanted(wired: Wired, model: ModelProperty, text: str) -> Desired:
    """What a desired text means at this property. ValueError says why it is not written there."""
    value = desired(model, text)
    if not wired.point.writable:
        raise ValueError("the device takes no writes there")
    return Desired(text, wired.point.nearest(value))


def meaning(wired: Wired, text: str) -> Value | None:
    """The value that a text stands for at this property, as the device holds it; None when it stands for none."""
    try:
        return wired.point.nearest(from_text(wired.type, text)) if text else None
    except ValueError:
        return None


def told(properties: Mapping[str, Wired], values: Mapping[str, Told]) -> dict[str, Sample]:
    """What values mean that somebody outside tells. InvalidError says which is wrong, and why; then none is to be taken."""
    found = {}
    for name, (text, time) in values.items():
        if (wired := properties.get(name)) is None:
            raise InvalidError(f'the device has no property "{name}"')
        try:
            value = from_text(wired.type, text)
        except ValueError as error:
            raise InvalidError(f"{name}: {error}") from error
        if wrong := outside(value, wired.minimum, wired.maximum):
            raise InvalidError(f"{name}: {text} is {wrong}")
        found[name] = Sample(value, None if time is None else time / MS)
    return found


def _limit(field: str, text: str) -> Decimal | None:
    try:
        return decimal(text) if text else None
    except ValueError as error:
        raise _WiringError([f"{field}: {error}"]) from error


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
