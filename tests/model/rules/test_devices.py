from collections.abc import Callable
from typing import Any

import pytest

JSON = dict[str, Any]
Wrong = Callable[[JSON], list[str]]
Put = Callable[[JSON, str, Any], JSON]
MODEL = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel", "metadata": {"name": "m", "namespace": "default"}}
INT = {"name": "t", "type": "INT", "accessMode": "ReadWrite", "minimum": "-1", "maximum": "1e3"}


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ([INT], None),
        (
            [{"name": "t", "type": "BLOB"}],
            '"BLOB": supported values: "INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES", "STREAM"',
        ),
        ([{**INT, "accessMode": "WriteOnly"}], '"WriteOnly": supported values: "ReadWrite", "ReadOnly"'),
        ([{**INT, "minimum": "low"}], 'spec.properties[0].minimum: Invalid value: "low": must be a number'),
        ([{**INT, "maximum": "nan"}], "must be a number"),
        ([{**INT, "minimum": "5", "maximum": "3"}], "must be less than or equal to maximum 3"),
        ([INT, INT], 'spec.properties[1].name: Duplicate value: "t"'),
        ([{**INT, "name": ""}], "spec.properties[0].name: Required value"),
        ([INT, {"name": "double", "type": "INT", "expression": "2 * t"}], None),
        ([INT, {"name": "double", "type": "INT", "expression": "2 *"}], "expression: Invalid value: \"2 *\": '2 *' is no"),
        ([INT, {"name": "double", "type": "INT", "expression": "2 * u"}], "u is no property that is read from the device"),
        ([{**INT, "alarms": [{"name": "hot", "above": "80", "hysteresis": "2", "delaySeconds": 5}]}], None),
        ([{**INT, "alarms": [{"name": "open", "equals": "true", "severity": "critical"}]}], None),
        ([{**INT, "alarms": [{"name": "hot"}]}], 'alarms[0]: Invalid value: "none": expected one of above, below'),
        ([{**INT, "alarms": [{"name": "hot", "above": "1", "below": "2"}]}], 'Invalid value: "above, below"'),
        ([{**INT, "alarms": [{"name": "hot", "above": "high"}]}], 'alarms[0].above: Invalid value: "high": must be a number'),
        ([{**INT, "alarms": [{"name": "hot", "above": "1", "hysteresis": "-1"}]}], "alarms[0].hysteresis: Invalid value"),
        ([{**INT, "alarms": [{"name": "hot", "above": "1", "delaySeconds": -1}]}], "delaySeconds: Invalid value: -1"),
        ([{**INT, "alarms": [{"name": "hot", "above": "1", "severity": "bad"}]}], "severity: Unsupported value"),
        ([{**INT, "alarms": [{"name": "a", "above": "1"}, {"name": "a", "above": "2"}]}], "alarms[1].name: Duplicate value"),
    ],
)
def test_device_models(properties: list[JSON], says: str | None, wrong: Wrong) -> None:
    found = wrong({**MODEL, "spec": {"properties": properties}})
    assert (found == []) if says is None else (len(found) == 1 and says in found[0])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("deviceModelRef", {}, "spec.deviceModelRef.name: Required value"),
        ("deviceModelRef", {"name": "A"}, "spec.deviceModelRef.name: Invalid"),
        ("nodeName", "A b", "spec.nodeName: Invalid"),
        ("nodeSelector", {"a b": "1"}, "spec.nodeSelector: Invalid"),
        ("tolerations", [{"operator": "Maybe", "key": "k"}], "spec.tolerations[0].operator: Unsupported"),
        ("methods", [{"name": "m"}, {"name": "m"}], 'spec.methods[1].name: Duplicate value: "m"'),
        ("stateReport", {"reportCycle": -1}, "spec.stateReport.reportCycle: Invalid"),
        ("properties.0.alarms", [{"name": "a", "above": "x"}], "spec.properties[0].alarms[0].above: Invalid value"),
        ("properties", [{"name": "t"}, {"name": "t"}], 'spec.properties[1].name: Duplicate value: "t"'),
        (
            "properties.0.collectCycle",
            -1,
            "spec.properties[0].collectCycle: Invalid value: -1: must be greater than or equal to 0",
        ),
    ],
)
def test_devices(device: JSON, path: str, value: Any, says: str, wrong: Wrong, put: Put) -> None:
    found = wrong(put(device, f"spec.{path}", value))
    assert len(found) == 1
    assert says in found[0]
