"""Rules for devices.kubeedge.io/v1beta1, with KubeEdge's enumerations."""

import re
from collections.abc import Iterable, Iterator

from edged.errors import Cause
from edged.model import causes, names
from edged.model.devices import Device, DeviceModel, ModelProperty
from edged.model.rules.metadata import NOT_NEGATIVE

TYPES = ("INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES", "STREAM")
ACCESS_MODES = ("ReadWrite", "ReadOnly")

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


def device(parsed: Device) -> Iterator[Cause]:
    """A device."""
    spec = parsed.spec
    if not spec.device_model_ref.name:
        yield causes.required("spec.deviceModelRef.name")
    elif wrong := names.subdomain(spec.device_model_ref.name):
        yield causes.invalid("spec.deviceModelRef.name", spec.device_model_ref.name, wrong)
    if spec.node_name and (wrong := names.subdomain(spec.node_name)):
        yield causes.invalid("spec.nodeName", spec.node_name, wrong)
    yield from _names((each.name for each in spec.properties), "spec.properties")
    for at, each in enumerate(spec.properties):
        for field, cycle in (("reportCycle", each.report_cycle), ("collectCycle", each.collect_cycle)):
            if cycle < 0:
                yield causes.invalid(f"spec.properties[{at}].{field}", cycle, NOT_NEGATIVE)


def _names(found: Iterable[str], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for at, name in enumerate(found):
        if not name:
            yield causes.required(f"{path}[{at}].name")
        elif name in seen:
            yield causes.duplicate(f"{path}[{at}].name", name)
        seen.add(name)


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
