"""Rules for devices.kubeedge.io/v1beta1, with KubeEdge's enumerations."""

import re
from collections.abc import Iterable, Iterator

from edged.errors import Cause
from edged.model import causes, names
from edged.model.devices import AlarmLimit, Device, DeviceModel, ModelProperty
from edged.model.formula import Formula
from edged.model.rules.metadata import NOT_NEGATIVE, failover_rule
from edged.model.rules.pods import placement

TYPES = ("INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES", "STREAM")
ACCESS_MODES = ("ReadWrite", "ReadOnly")
STRATEGIES = ("OnChange", "OnPeriod", "OnChangeOrPeriod")
ALARMS = ("above", "below", "equals", "rising", "falling")
SEVERITIES = ("info", "warning", "critical")
BOOLEANS = ("true", "false")
MAX_DELAY_S = 86_400.0

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


def device_model(parsed: DeviceModel) -> Iterator[Cause]:
    """A device model."""
    yield from _names((each.name for each in parsed.spec.properties), "spec.properties")
    for at, each in enumerate(parsed.spec.properties):
        where = f"spec.properties[{at}]"
        if each.type not in TYPES:
            yield causes.unsupported(f"{where}.type", each.type, TYPES)
        if each.access_mode not in ACCESS_MODES:
            yield causes.unsupported(f"{where}.accessMode", each.access_mode, ACCESS_MODES)
        yield from _limits(each, where)
        yield from _alarms(each.alarms, f"{where}.alarms")
        if each.expression:
            yield from _expression(each, parsed, f"{where}.expression")


def device(parsed: Device) -> Iterator[Cause]:
    """A device."""
    spec = parsed.spec
    if not spec.device_model_ref.name:
        yield causes.required("spec.deviceModelRef.name")
    elif wrong := names.subdomain(spec.device_model_ref.name):
        yield causes.invalid("spec.deviceModelRef.name", spec.device_model_ref.name, wrong)
    if spec.node_name and (wrong := names.subdomain(spec.node_name)):
        yield causes.invalid("spec.nodeName", spec.node_name, wrong)
    yield from failover_rule(parsed.metadata, "metadata")
    yield from placement(spec, "spec")
    if spec.state_report.report_cycle < 0:
        yield causes.invalid("spec.stateReport.reportCycle", spec.state_report.report_cycle, NOT_NEGATIVE)
    yield from _names((each.name for each in spec.methods), "spec.methods")
    yield from _names((each.name for each in spec.properties), "spec.properties")
    for at, each in enumerate(spec.properties):
        for field, cycle in (("reportCycle", each.report_cycle), ("collectCycle", each.collect_cycle)):
            if cycle < 0:
                yield causes.invalid(f"spec.properties[{at}].{field}", cycle, NOT_NEGATIVE)
        if each.report_strategy not in STRATEGIES:
            yield causes.unsupported(f"spec.properties[{at}].reportStrategy", each.report_strategy, STRATEGIES)
        if each.deadband and not (_NUMBER.fullmatch(each.deadband) and float(each.deadband) >= 0):
            yield causes.invalid(f"spec.properties[{at}].deadband", each.deadband, "must be a number that is not negative")
        yield from _alarms(each.alarms, f"spec.properties[{at}].alarms")


def _names(found: Iterable[str], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for at, name in enumerate(found):
        if not name:
            yield causes.required(f"{path}[{at}].name")
        elif name in seen:
            yield causes.duplicate(f"{path}[{at}].name", name)
        seen.add(name)


def _expression(each: ModelProperty, model: DeviceModel, path: str) -> Iterator[Cause]:
    """It is one, of properties that are read. Which it is not is what `edged.device.wiring` finds in an older object."""
    try:
        inputs = Formula(each.expression).names
    except ValueError as error:
        yield causes.invalid(path, each.expression, str(error))
        return
    read = {other.name for other in model.spec.properties if not other.expression}
    for name in sorted(inputs - read):
        yield causes.invalid(path, each.expression, f"{name} is no property that is read from the device")


def _alarms(alarms: Iterable[AlarmLimit], path: str) -> Iterator[Cause]:
    alarms = tuple(alarms)
    yield from _names((each.name for each in alarms), path)
    for at, each in enumerate(alarms):
        where = f"{path}[{at}]"
        given = [(kind, getattr(each, kind)) for kind in ALARMS if getattr(each, kind)]
        if len(given) != 1:
            yield causes.invalid(where, ", ".join(kind for kind, _ in given) or "none", f"expected one of {', '.join(ALARMS)}")
        for kind, text in [*given, *([("hysteresis", each.hysteresis)] if each.hysteresis else [])]:
            if not _NUMBER.fullmatch(text) and not (kind == "equals" and text in BOOLEANS):
                yield causes.invalid(f"{where}.{kind}", text, "must be a number")
            elif kind == "hysteresis" and float(text) < 0:
                yield causes.invalid(f"{where}.{kind}", text, NOT_NEGATIVE)
        if not 0 <= each.delay_seconds <= MAX_DELAY_S:
            yield causes.invalid(f"{where}.delaySeconds", each.delay_seconds, f"must be from 0 to {MAX_DELAY_S:g}")
        if each.severity not in SEVERITIES:
            yield causes.unsupported(f"{where}.severity", each.severity, SEVERITIES)


def _limits(each: ModelProperty, path: str) -> Iterator[Cause]:
    limits: list[float] = []
    for field, value in (("minimum", each.minimum), ("maximum", each.maximum)):
        if not value:
            continue
        if _NUMBER.fullmatch(value):
            limits.append(float(value))
        else:
            yield causes.invalid(f"{path}.{field}", value, "must be a number")
    if len(limits) == 2 and limits[0] > limits[1]:
        yield causes.invalid(f"{path}.minimum", each.minimum, f"must be less than or equal to maximum {each.maximum}")
