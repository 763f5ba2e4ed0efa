"""The messages of the Device Mapper Interface, package `v1beta1` (KubeEdge, apis/dmi/v1beta1/api.proto), as protobuf classes.

They are built from the table below when this module is loaded, which is when the interface is enabled: no generated code.
A field is `TYPE NAME NUMBER`; a TYPE is a scalar, a message of the table, `Any`, `*TYPE` repeated, or `{}TYPE` a map by string.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

from edged.model.meta import JSON

PACKAGE = "v1beta1"

TABLE = {
    "MapperRegisterRequest": "bool withData 1, MapperInfo mapper 2",
    "MapperRegisterResponse": "*DeviceModel modelList 1, *Device deviceList 2",
    "MapperInfo": ("string name 1, string version 2, string api_version 3, string protocol 4, bytes address 5, string state 6"),
    "DeviceModel": "string name 1, DeviceModelSpec spec 2, string namespace 3",
    "DeviceModelSpec": "*ModelProperty properties 1, *DeviceCommand commands 2",
    "ModelProperty": (
        "string name 1, string description 2, string type 3, string accessMode 4, string minimum 5, string maximum 6, "
        "string unit 7"
    ),
    "DeviceCommand": (
        "string name 1, string url 2, string method 3, *string status_code 4, *string parameters 5, bytes response 6"
    ),
    "Device": "string name 1, DeviceSpec spec 2, DeviceStatus status 3, string namespace 4",
    "DeviceSpec": (
        "string deviceModelReference 1, ProtocolConfig protocol 2, *DeviceProperty properties 3, *DeviceMethod methods 4"
    ),
    "DeviceMethod": "string name 1, string description 2, *string propertyNames 3",
    "DeviceProperty": (
        "string name 1, TwinProperty desired 2, VisitorConfig visitors 3, int64 reportCycle 4, int64 collectCycle 5, "
        "bool reportToCloud 6"
    ),
    "ProtocolConfig": "string protocolName 1, CustomizedValue configData 2",
    "VisitorConfig": "string protocolName 1, CustomizedValue configData 2",
    "CustomizedValue": "{}Any data 1",
    "DeviceStatus": "*Twin twins 1, bool reportToCloud 2, int64 reportCycle 3",
    "Twin": "string propertyName 1, TwinProperty observedDesired 2, TwinProperty reported 3",
    "TwinProperty": "string value 1, {}string metadata 2",
    "ReportDeviceStatusRequest": "string deviceName 1, DeviceStatus reportedDevice 2, string deviceNamespace 3",
    "ReportDeviceStatusResponse": "",
    "ReportDeviceStatesRequest": "string deviceName 1, string deviceNamespace 2, string state 3",
    "ReportDeviceStatesResponse": "",
    "RegisterDeviceRequest": "Device device 1",
    "RegisterDeviceResponse": "string deviceName 1, string deviceNamespace 2",
    "UpdateDeviceRequest": "Device device 1",
    "UpdateDeviceResponse": "",
    "RemoveDeviceRequest": "string deviceName 1, string deviceNamespace 2",
    "RemoveDeviceResponse": "",
    "GetDeviceRequest": "string deviceName 1, string deviceNamespace 2",
    "GetDeviceResponse": "Device device 1",
    "CreateDeviceModelRequest": "DeviceModel model 1",
    "CreateDeviceModelResponse": "string deviceModelName 1, string deviceModelNamespace 2",
    "UpdateDeviceModelRequest": "DeviceModel model 1",
    "UpdateDeviceModelResponse": "",
    "RemoveDeviceModelRequest": "string modelName 1, string modelNamespace 2",
    "RemoveDeviceModelResponse": "",
}

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "bool": _FIELD.TYPE_BOOL,
    "int64": _FIELD.TYPE_INT64,
}
_ANY = ".google.protobuf.Any"


def _build() -> Mapping[str, type[Any]]:
    """The class of each message, by its name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="edged/dmi.proto", package=PACKAGE, syntax="proto3", dependency=[any_pb2.DESCRIPTOR.name]
    )
    for name, fields in TABLE.items():
        message = file.message_type.add(name=name)
        for type_, field, number in _fields(fields):
            _add(message, type_, field, number)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in TABLE}


def _fields(text: str) -> Iterator[tuple[str, str, int]]:
    for each in text.split(", ") if text else ():
        type_, field, number = each.split()
        yield type_, field, int(number)


def _add(message: descriptor_pb2.DescriptorProto, type_: str, name: str, number: int) -> None:
    label = _FIELD.LABEL_REPEATED if type_[0] in "*{" else _FIELD.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if not type_.startswith("{}"):
        _type(field, type_.removeprefix("*"))
        return
    entry = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")  # protobuf's own name for what is in a map
    entry.options.map_entry = True
    _add(entry, "string", "key", 1)
    _add(entry, type_.removeprefix("{}"), "value", 2)
    field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"


def _type(field: descriptor_pb2.FieldDescriptorProto, type_: str) -> None:
    if type_ in _SCALARS:
        field.type = _SCALARS[type_]
    else:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, _ANY if type_ == "Any" else f".{PACKAGE}.{type_}"


CLASSES = _build()


def customized(config: JSON) -> Any:
    """A configData as a CustomizedValue: each value in the wrapper of its type; what has none is left out, as KubeEdge does."""
    packed = {name: _any(value) for name, value in config.items()}
    return CLASSES["CustomizedValue"](data={name: value for name, value in packed.items() if value is not None})


def _any(value: object) -> Any:
    wrapper: Any
    if isinstance(value, bool):
        wrapper = wrappers_pb2.BoolValue(value=value)
    elif isinstance(value, int):
        wrapper = wrappers_pb2.Int64Value(value=value)
    elif isinstance(value, float):
        wrapper = wrappers_pb2.DoubleValue(value=value)
    elif isinstance(value, str):
        wrapper = wrappers_pb2.StringValue(value=value)
    else:
        return None
    return {"type_url": f"type.googleapis.com/{wrapper.DESCRIPTOR.full_name}", "value": wrapper.SerializeToString()}
