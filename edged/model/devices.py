"""devices.kubeedge.io/v1beta1 with the fields that edged acts on: DeviceModel, Device, DeviceStatus. Names are KubeEdge's."""

from typing import Any

from edged.model.core import Toleration
from edged.model.meta import Condition, Kind, Part
from edged.model.push import PushMethod


class ProtocolConfig(Part, frozen=True):
    """How to reach a device or property: `config_data` is the mapper's own (see each mapper for its keys)."""

    protocol_name: str = ""
    config_data: dict[str, Any] = {}


class AlarmLimit(Part, frozen=True):
    """When an alarm of a property is raised: exactly one of the five limits is given, as text. All of it is ours.

    `above`, `below` and `equals` (true and false, too) are values, `rising` and `falling` a change a minute. `hysteresis` is
    how far it must come back, `delay_seconds` for how long it must have been so; `severity` is info, warning or critical.
    """

    name: str
    above: str = ""
    below: str = ""
    equals: str = ""
    rising: str = ""
    falling: str = ""
    hysteresis: str = ""
    delay_seconds: float = 0.0
    severity: str = "warning"


class ModelProperty(Part, frozen=True):
    """A property that devices of a model have.

    `type` is INT, FLOAT, DOUBLE, STRING, BOOLEAN, BYTES or STREAM; `access_mode` ReadWrite or ReadOnly; the limits
    are numbers written as strings. `visitors` is where all devices of the model have it, unless one says otherwise.
    Ours are `expression`, by which it is computed from the other properties (`edged.model.formula`), and `alarms`.
    """

    name: str
    description: str = ""
    type: str = "STRING"
    access_mode: str = "ReadOnly"
    minimum: str = ""
    maximum: str = ""
    unit: str = ""
    visitors: ProtocolConfig = ProtocolConfig()
    expression: str = ""
    alarms: tuple[AlarmLimit, ...] = ()


class DeviceModelSpec(Part, frozen=True):
    """What devices of this model have in common."""

    protocol: str = ""
    protocol_config_data: dict[str, Any] = {}
    properties: tuple[ModelProperty, ...] = ()


class DeviceModel(Kind, frozen=True):
    """A kind of device."""

    spec: DeviceModelSpec = DeviceModelSpec()


class ModelReference(Part, frozen=True):
    """The DeviceModel of a device, in its namespace."""

    name: str = ""


class TwinValue(Part, frozen=True, gc=False):
    """A value as text, with metadata: `timestamp` (milliseconds since 1970, as text), `type`, and `version`.

    The version, ours, counts the values that a property was reported with, or the desired ones that were acted on.
    """

    value: str = ""
    metadata: dict[str, str] = {}


class DeviceProperty(Part, frozen=True):
    """A property of a device: where it is (`visitors`), what it should be (`desired`); cycles in milliseconds.

    Ours are `report_strategy` (OnChange, OnPeriod, OnChangeOrPeriod) and `deadband` (a number as text), which of the values
    that are read are readings, `alarms` in place of the model's, and `read_back`: whether a desired value counts only once it
    was read from the device again.
    """

    name: str
    desired: TwinValue = TwinValue()
    visitors: ProtocolConfig = ProtocolConfig()
    report_cycle: int = 1000
    collect_cycle: int = 1000
    report_to_cloud: bool = True
    push_method: PushMethod = PushMethod()
    report_strategy: str = "OnChange"
    deadband: str = ""
    read_back: bool = True
    alarms: tuple[AlarmLimit, ...] = ()


class DeviceMethod(Part, frozen=True):
    """Something that a device does when it is called: it takes values for these properties; none: the mapper's own method."""

    name: str
    description: str = ""
    property_names: tuple[str, ...] = ()


class StateReport(Part, frozen=True):
    """Every how many milliseconds the status is written although nothing changed; 0, or not to the cloud: seldom."""

    report_to_cloud: bool = True
    report_cycle: int = 0


class DeviceSpec(Part, frozen=True):
    """A device on the bus of `node_name`; or, with `node_selector` (labels, ours), of any node that has these labels.

    `tolerations` (ours) say which taints such a node may have, and for how long the device waits for one that is lost.
    """

    device_model_ref: ModelReference = ModelReference()
    node_name: str = ""
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    protocol: ProtocolConfig = ProtocolConfig()
    properties: tuple[DeviceProperty, ...] = ()
    methods: tuple[DeviceMethod, ...] = ()
    state_report: StateReport = StateReport()


class Twin(Part, frozen=True, gc=False):
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


class ShownDeviceStatus(Kind, frozen=True):
    """A DeviceStatus, the kind since KubeEdge 1.23: what the Device of its name says in its status."""

    status: DeviceStatus = DeviceStatus()
