from google.protobuf import any_pb2, wrappers_pb2

from edged.device.dmi.messages import CLASSES, TABLE, customized


def test_all_messages_are_there() -> None:
    assert set(CLASSES) == set(TABLE)
    for name, made in CLASSES.items():
        assert made.DESCRIPTOR.full_name == f"v1beta1.{name}"
        assert made().SerializeToString() == b""


def test_the_bytes_are_what_the_field_numbers_say() -> None:
    info = CLASSES["MapperInfo"](name="m", protocol="p", address=b"a")
    assert info.SerializeToString() == b"\x0a\x01m\x22\x01p\x2a\x01a"
    request = CLASSES["ReportDeviceStatusRequest"](
        deviceName="d", reportedDevice={"twins": [{"propertyName": "t", "reported": {"value": "1", "metadata": {"k": "v"}}}]}
    )
    twin = b"\x0a\x01t\x1a" + bytes([11]) + b"\x0a\x011\x12\x06\x0a\x01k\x12\x01v"
    status = b"\x0a" + bytes([len(twin)]) + twin
    assert request.SerializeToString() == b"\x0a\x01d\x12" + bytes([len(status)]) + status


def test_config_data_is_wrapped_by_type() -> None:
    found = customized({"ip": "1.2.3.4", "port": 502, "scale": 0.5, "swap": True, "nested": {"a": 1}, "none": None}).data
    assert set(found) == {"ip", "port", "scale", "swap"}
    kinds = {
        "ip": (wrappers_pb2.StringValue, "1.2.3.4"),
        "port": (wrappers_pb2.Int64Value, 502),
        "scale": (wrappers_pb2.DoubleValue, 0.5),
        "swap": (wrappers_pb2.BoolValue, True),
    }
    for name, (kind, expected) in kinds.items():
        packed = any_pb2.Any.FromString(found[name].SerializeToString())
        value = kind()
        assert packed.Unpack(value)
        assert value.value == expected
