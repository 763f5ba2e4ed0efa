"""Devices and models as a mapper gets them, and what it reports as readings (pure)."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from edged.device.dmi.messages import CLASSES, customized
from edged.model.devices import Device, DeviceModel, ModelProperty, ProtocolConfig, TwinValue

MAX_TIME = 2**53  # milliseconds; what is beyond is no time


class Said(NamedTuple):
    """A value that a mapper reports, as text, and its time in milliseconds since 1970; None: it gives none."""

    property: str
    value: str
    time: int | None


def device(it: Device, *, status: bool) -> Any:
    """A Device. Without its `status` it is the same until somebody changes what it should be."""
    spec = it.spec
    return CLASSES["Device"](
        name=it.metadata.name,
        namespace=it.metadata.namespace,
        spec={
            "deviceModelReference": spec.device_model_ref.name,
            "protocol": _config(spec.protocol),
            "properties": [
                {
                    "name": each.name,
                    "desired": _value(each.desired),
                    "visitors": _config(each.visitors),
                    "reportCycle": each.report_cycle,
                    "collectCycle": each.collect_cycle,
                    "reportToCloud": each.report_to_cloud,
                }
                for each in spec.properties
            ],
        },
        status={
            "twins": [
                {
                    "propertyName": twin.property_name,
                    "observedDesired": _value(twin.observed_desired),
                    "reported": _value(twin.reported),
                }
                for twin in (it.status.twins if status else ())
            ]
        },
    )


def model(it: DeviceModel) -> Any:
    """A DeviceModel."""
    return CLASSES["DeviceModel"](
        name=it.metadata.name, namespace=it.metadata.namespace, spec={"properties": [_property(p) for p in it.spec.properties]}
    )


def said(twins: Iterable[Any]) -> Iterator[Said]:
    """What a mapper reports of a device, by its Twin messages."""
    for twin in twins:
        time = twin.reported.metadata.get("timestamp", "")
        known = int(time) if time.isascii() and time.isdigit() and len(time) <= 16 else MAX_TIME
        yield Said(twin.propertyName, twin.reported.value, known if known < MAX_TIME else None)


def _property(it: ModelProperty) -> dict[str, str]:
    return {
        "name": it.name,
        "description": it.description,
        "type": it.type,
        "accessMode": it.access_mode,
        "minimum": it.minimum,
        "maximum": it.maximum,
        "unit": it.unit,
    }


def _config(it: ProtocolConfig) -> dict[str, Any]:
    return {"protocolName": it.protocol_name, "configData": customized(it.config_data)}


def _value(it: TwinValue) -> dict[str, Any]:
    return {"value": it.value, "metadata": it.metadata}
