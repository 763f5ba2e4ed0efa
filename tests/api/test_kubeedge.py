"""Manifests with all that KubeEdge's own samples have in them, by the real kubectl: they apply as they are."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.tool("kubectl")

# As its Modbus samples: TCP and serial; a status that the manifest brings along; a push to a broker and a database.
MODBUS = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump-model}
spec:
  protocol: modbus
  properties:
    - {name: pressure, description: bar, type: FLOAT, accessMode: ReadOnly, unit: bar}
    - {name: valve, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "100"}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump-1, labels: {model: pump-model}}
spec:
  deviceModelRef: {name: pump-model}
  protocol:
    protocolName: modbus
    configData: {communicateMode: TCP, ip: 192.0.2.9, port: "502", slaveID: 1}
  nodeName: edge-node
  properties:
    - name: pressure
      visitors:
        protocolName: modbus
        configData: {dataType: float, register: HoldingRegister, offset: 0, limit: 1, scale: 0.1, isSwap: false, max: 10.0}
      reportCycle: 10000000000
      collectCycle: 10000000000
      reportToCloud: true
      pushMethod:
        mqtt: {address: "tcp://192.0.2.10:1883", topic: pressure, qos: 0, retained: false}
        dbMethod:
          influxdb2:
            influxdb2ClientConfig: {url: "http://192.0.2.10:8086", org: o, bucket: b}
            influxdb2DataConfig: {measurement: stat, tag: {unit: bar}, fieldKey: pressure}
    - name: valve
      desired: {value: "30", metadata: {timestamp: "1550049403598", type: integer}}
      visitors:
        protocolName: modbus
        configData: {register: HoldingRegister, offset: 1, limit: 1, scale: 1, isSwap: true, isRegisterSwap: true}
  methods:
    - {name: OpenValve, description: in percent, propertyNames: [valve]}
  stateReport: {reportToCloud: true, reportCycle: 60000}
status:
  twins:
    - propertyName: valve
      reported: {value: "20", metadata: {timestamp: "1550049403598", type: integer}}
      observedDesired: {value: "20", metadata: {timestamp: "1550049403598", type: integer}}
"""

# As its samples for mappers of one's own: configData that is empty or nobody's here, stream properties, cameras, secrets.
OTHERS = """
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: counter}
spec:
  deviceModelRef: {name: counter-model}
  nodeName: "edge-node"
  protocol:
    protocolName: virtualProtocol
    configData:
  properties:
    - name: status
      visitors: {configData: {name: status}}
      collectCycle: 10000
      reportCycle: 10000
      reportToCloud: true
---
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: camera-model, namespace: default}
spec:
  protocol: onvif
  protocolConfigData: {url: "192.0.2.11:80"}
  properties:
    - {name: getURI, description: where it is, type: STRING, accessMode: ReadOnly}
    - {name: saveFrame, type: STREAM, accessMode: ReadOnly}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: camera, namespace: default}
spec:
  deviceModelRef: {name: camera-model}
  protocol: {protocolName: onvif, configData: {url: "192.0.2.11:80", userName: admin, password: /etc/secret/password}}
  nodeName: edge-node
  properties:
    - name: saveFrame
      visitors: {protocolName: onvif, configData: {format: jpg, outputDir: /tmp/case/, frameCount: 30, dataType: stream}}
"""


async def test_its_manifests_apply_as_they_are(kubectl: Any) -> None:
    for manifest in (MODBUS, OTHERS):
        said = await kubectl("apply", "-f", "-", stdin=manifest)
        assert said.count(" created\n") == manifest.count("\nkind:")
        await kubectl("apply", "-f", "-", stdin=manifest)
    kept = json.loads(await kubectl("get", "device", "pump-1", "-o", "json"))
    assert kept["metadata"]["generation"] == 1
    assert kept["spec"]["properties"][0]["pushMethod"]["mqtt"]["topic"] == "pressure"
    assert "twins" not in kept.get("status", {})  # what a device says is not what a manifest says


async def test_its_kinds_are_read_by_their_names(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=MODBUS)
    shown = json.loads(await kubectl("get", "devicestatus", "pump-1", "-o", "json"))
    assert (shown["kind"], shown["metadata"]["ownerReferences"][0]["name"]) == ("DeviceStatus", "pump-1")
    assert (await kubectl("get", "devicestatuses")).split()[:2] == ["NAME", "STATE"]
    assert "show what devices say" in await kubectl("delete", "devicestatus", "pump-1", fails=True)


async def test_a_desired_value_is_checked_against_the_model(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=MODBUS)
    said = await kubectl("apply", "-f", "-", stdin=MODBUS.replace('value: "30"', 'value: "101"'), fails=True)
    assert 'spec.properties[1].desired.value: Invalid value: "101": 101 is over its maximum 100' in said
    raised = MODBUS.replace('maximum: "100"', 'maximum: "20"')
    await kubectl("apply", "-f", "-", stdin=raised)  # what is desired already stays, and the device's condition says why not
    await kubectl("label", "device", "pump-1", "floor=2")
    said = await kubectl("apply", "-f", "-", stdin=raised.replace('value: "30"', 'value: "29"'), fails=True)
    assert "29 is over its maximum 20" in said
