"""devices.kubeedge.io/v1beta1 with the fields that edged acts on: DeviceModel, Device. Names are KubeEdge's."""

from typing import Any

from edged.model.meta import Condition, Kind, Part


class ModelProperty(Part, frozen=True):
    """A property that devices of a model have.

    `type` is INT, FLOAT, DOUBLE, STRING, BOOLEAN, BYTES or STREAM; `access_mode` ReadWrite or ReadOnly; the limits
    are numbers written as strings.
    """

    name: str
    description: str = ""
    type: str = "STRING"
    access_mode: str = "ReadOnly"
    minimum: str = ""
    maximum: str = ""
    unit: str = ""


class DeviceModelSpec(Part, frozen=True):
    """What devices of this model have in common."""

    protocol: str = ""
    properties: tuple[ModelProperty, ...] = ()


class DeviceModel(Kind, frozen=True):
    """A kind of device."""

    spec: DeviceModelSpec = DeviceModelSpec()


class ModelReference(Part, frozen=True):
    """The DeviceModel of a device, in its namespace."""

    name: str = ""


class ProtocolConfig(Part, frozen=True):
    """How to reach a device or property: `config_data` is the mapper's own (see each mapper for its keys)."""

    protocol_name: str = ""
    config_data: dict[str, Any] = {}


class TwinValue(Part, frozen=True):
    """A value as text, with metadata such as `timestamp` (milliseconds since 1970, as text) and `type`."""

    value: str = ""
    metadata: dict[str, str] = {}


class DeviceProperty(Part, frozen=True):
    """A property of a device: where it is (`visitors`), what it should be (`desired`); cycles in milliseconds."""

    name: str
    desired: TwinValue = TwinValue()
    visitors: ProtocolConfig = ProtocolConfig()
    report_cycle: int = 1000
    collect_cycle: int = 1000
    report_to_cloud: bool = True


class DeviceSpec(Part, frozen=True):
    """A device on the bus of `node_name`."""

    device_model_ref: ModelReference = ModelReference()
    node_name: str = ""
    protocol: ProtocolConfig = ProtocolConfig()
    properties: tuple[DeviceProperty, ...] = ()


class Twin(Part, frozen=True):
    """What a property is (`reported`) and which desired value was acted on (`observed_desired`)."""

    property_name: str
    reported: TwinValue = TwinValue()
    observed_desired: TwinValue = TwinValue()


class DeviceStatus(Part, frozen=True):
    """`state` is ok, online, offline, disconnected, unhealthy or unknown; `last_online_time` RFC 3339.

    `conditions` are ours: what is wrong with the device's wiring or its answers, in words.
    """

    twins: tuple[Twin, ...] = ()
    state: str = ""
    last_online_time: str = ""
    conditions: tuple[Condition, ...] = ()


class Device(Kind, frozen=True):
    """A thing on a bus, and its twin."""

    spec: DeviceSpec = DeviceSpec()
    status: DeviceStatus = DeviceStatus()
