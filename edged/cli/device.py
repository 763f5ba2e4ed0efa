"""`edged device ls|get|set|watch|call`: the things of the group, asked and told through the daemon of this machine. A shell."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from edged import config
from edged.api.ages import age, duration
from edged.cli import client, exits
from edged.cli.tables import Table, show
from edged.errors import EdgedError, InvalidError, ProtocolError
from edged.model.devices import Device, DeviceModel, Twin

API = "/apis/devices.kubeedge.io/v1beta1"
APPLIED = "DesiredApplied"
PATCH = "application/json-patch+json"
LOOK_S = 0.2  # between looks whether a device has what it was set to
SETTLE_S = 1.0  # for the node to look at a new desired value: before, what its conditions say may be of the one before
CALL_S = 25.0  # for the daemon, which gives a node 10 s for a link and 10 s for an answer
K = TypeVar("K", Device, DeviceModel)
ASSIGNED = 'expected PROPERTY=VALUE, got "{}"'


def ls(arguments: argparse.Namespace) -> int:
    """`edged device ls`: exit 3 when a device is not ok."""
    items = client.get(_socket(arguments), f"{API}/devices")["items"]
    devices = [_parsed(each, Device) for each in items]
    if arguments.json:
        _print(json.dumps([_summary(each) for each in devices], indent=2))
    else:
        now = time.time()
        rows = [_row(each, now) for each in devices]
        show([Table(("DEVICE", "STATE", "NODE", "PROTOCOL", "LAST SEEN"), rows)], marked=lambda row: row[1] != "ok")
    return exits.OK if all(each.status.state == "ok" for each in devices) else exits.DEGRADED


def get(arguments: argparse.Namespace) -> int:
    """`edged device get`: exit 3 when the device is not ok."""
    path = _socket(arguments)
    value = client.get(path, _target(arguments))
    device = _parsed(value, Device)
    if arguments.json:
        _print(json.dumps(value, indent=2))
    else:
        wrong = {each.type for each in device.status.conditions if each.status != "True"}
        show(tables(device, _units(path, device), time.time()), marked=lambda row: row[0] in wrong)
    return exits.OK if device.status.state == "ok" else exits.DEGRADED


def tables(device: Device, units: dict[str, str], now: float) -> list[Table]:
    """A device in words: facts and what is wrong first, then its properties."""
    spec, status = device.spec, device.status
    facts = [
        ("device", _name(device)),
        ("state", status.state or "unknown"),
        ("node", spec.node_name or "none"),
        ("model", spec.device_model_ref.name),
        ("protocol", spec.protocol.protocol_name),
        ("last seen", _ago(status.last_online_time, now)),
        *((each.type, f"{each.reason}: {each.message}") for each in status.conditions if each.status != "True"),
    ]
    wanted = {each.name: each.desired.value for each in spec.properties}
    twins = {twin.property_name: twin for twin in status.twins}
    names = [*wanted, *(name for name in twins if name not in wanted)]
    rows = [_property(name, twins.get(name, Twin(name)), wanted.get(name, ""), units, now) for name in names]
    return [Table(("", ""), facts), Table(("PROPERTY", "VALUE", "UNIT", "AGE", "DESIRED"), rows)]


def _property(name: str, twin: Twin, wanted: str, units: dict[str, str], now: float) -> tuple[str, ...]:
    at = twin.reported.metadata.get("timestamp", "")
    old = duration(now - int(at) / 1000) if at.isdecimal() else ""
    desired = f"{wanted} (applied)" if wanted == twin.observed_desired.value else f"{wanted} (not applied)"
    return name, twin.reported.value, units.get(name, ""), old, desired if wanted else ""


def put(arguments: argparse.Namespace) -> int:
    """`edged device set`: exit 0 when the device has the values, 1 when one is refused, 3 when one still waits for it."""
    path, target = _socket(arguments), _target(arguments)
    wanted = dict(_assigned(each) for each in arguments.values)
    device = _parsed(client.get(path, target), Device)
    client.ask(path, "PATCH", target, changes(device, wanted), of=PATCH)
    began = time.monotonic()
    while True:
        device = _parsed(client.get(path, target), Device)
        waited = time.monotonic() - began
        applied = waited > SETTLE_S and _applied(device)
        left = {name for name, text in wanted.items() if not applied and _observed(device, name) != text}
        said = {name: _said(device, name) for name in left}
        refused = [text for reason, text in said.values() if reason == "Refused"]
        if refused and waited > SETTLE_S:
            raise EdgedError("; ".join(refused))
        if not left or waited > arguments.wait:
            break
        time.sleep(LOOK_S)
    for name, text in wanted.items():
        if name not in left:
            _print(f"{name} is {text}")
    for name in sorted(left):
        sys.stderr.write(f"edged: degraded: {said[name][1] or f'{name}: {wanted[name]} waits to be written'}\n")
    return exits.DEGRADED if left else exits.OK


def changes(device: Device, wanted: dict[str, str]) -> list[dict[str, Any]]:
    """The JSON Patch that makes these values desired; it fails when the properties were moved meanwhile."""
    listed = {each.name: at for at, each in enumerate(device.spec.properties)}
    found: list[dict[str, Any]] = []
    if not listed:
        found.append({"op": "add", "path": "/spec/properties", "value": []})
    for name, text in wanted.items():
        if name not in listed:
            found.append({"op": "add", "path": "/spec/properties/-", "value": {"name": name, "desired": {"value": text}}})
            continue
        at = f"/spec/properties/{listed[name]}"
        found.append({"op": "test", "path": f"{at}/name", "value": name})
        found.append({"op": "add", "path": f"{at}/desired", "value": {"value": text}})
    return found


def watch(arguments: argparse.Namespace) -> int:
    """`edged device watch`: every value as it changes, until interrupted."""
    path = _socket(arguments)
    query = {"watch": "1"} | ({"fieldSelector": f"metadata.name={arguments.device}"} if arguments.device else {})
    where = f"{API}/namespaces/{quote(arguments.namespace)}" if arguments.device else API
    if arguments.device:
        client.get(path, _target(arguments))  # that it is there
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for event in client.lines(path, f"{where}/devices?{urlencode(query)}"):
        if event.get("type") == "ERROR":
            raise EdgedError(str(event["object"].get("message")))
        for line in news(_parsed(event["object"], Device), seen, as_json=arguments.json):
            _print(line)
        sys.stdout.flush()
    return exits.OK


def news(device: Device, seen: dict[tuple[str, str], tuple[str, str]], *, as_json: bool) -> Iterator[str]:
    """A line for each value that is not `seen`, and for a changed state."""
    name = _name(device)
    values = [
        (each.property_name, each.reported.value, each.reported.metadata.get("timestamp", "")) for each in device.status.twins
    ]
    for what, value, at in [("", device.status.state, ""), *values]:
        if not value or seen.get((name, what)) == (value, at):
            continue
        same = what == "" and seen.get((name, what), ("",))[0] == value
        seen[name, what] = value, at
        if as_json:
            found = {"property": what, "value": value, "time": int(at or 0)} if what else {"state": value}
            yield json.dumps({"device": name, **found})
        elif not same:
            clock = time.strftime("%H:%M:%S", time.localtime(int(at) / 1000 if at.isdecimal() else None))
            yield f"{clock}  {name}  {f'{what}  {value}' if what else f'is {value}'}"


def call(arguments: argparse.Namespace) -> int:
    """`edged device call`: what the device answers."""
    body = {"method": arguments.method, "arguments": arguments.arguments}
    answer = client.ask(_socket(arguments), "POST", f"{_target(arguments)}/call", body, wait=CALL_S)
    if arguments.json:
        _print(json.dumps(answer))
        return exits.OK
    for name, value in answer.get("values", {}).items():
        _print(f"{name} is {value}")
    for value in answer.get("results", ()):
        _print(value)
    return exits.OK


def _parsed(value: Any, kind: type[K]) -> K:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the daemon's answer is not understood: {error}") from error


def _socket(arguments: argparse.Namespace) -> Path:
    return Path(config.load(arguments.config, os.environ).api.socket)


def _target(arguments: argparse.Namespace) -> str:
    return f"{API}/namespaces/{quote(arguments.namespace, safe='')}/devices/{quote(arguments.device, safe='')}"


def _units(path: Path, device: Device) -> dict[str, str]:
    """The units of a device's properties; none when its model is not there."""
    models = client.get(path, f"{API}/namespaces/{device.metadata.namespace}/devicemodels")["items"]
    found = [_parsed(each, DeviceModel) for each in models if each["metadata"]["name"] == device.spec.device_model_ref.name]
    return {each.name: each.unit for model in found for each in model.spec.properties}


def _assigned(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise InvalidError(ASSIGNED.format(text))
    return name, value


def _observed(device: Device, name: str) -> str:
    return next((twin.observed_desired.value for twin in device.status.twins if twin.property_name == name), "")


def _applied(device: Device) -> bool:
    return any(each.type == APPLIED and each.status == "True" for each in device.status.conditions)


def _said(device: Device, name: str) -> tuple[str, str]:
    """The reason and the words of the condition that says why a property does not have its desired value."""
    for each in device.status.conditions:
        if each.type == APPLIED and each.status == "False":
            return next(((each.reason, part) for part in each.message.split("; ") if part.startswith(f"{name}: ")), ("", ""))
    return "", ""


def _row(device: Device, now: float) -> tuple[str, ...]:
    spec, status = device.spec, device.status
    seen = _ago(status.last_online_time, now)
    return _name(device), status.state or "unknown", spec.node_name or "none", spec.protocol.protocol_name, seen


def _summary(device: Device) -> dict[str, Any]:
    spec, status = device.spec, device.status
    return {
        "namespace": device.metadata.namespace,
        "name": device.metadata.name,
        "state": status.state or "unknown",
        "node": spec.node_name,
        "protocol": spec.protocol.protocol_name,
        "lastOnlineTime": status.last_online_time,
    }


def _name(device: Device) -> str:
    """Its name; with the namespace when that is not the usual one."""
    namespace, name = device.metadata.namespace, device.metadata.name
    return name if namespace == "default" else f"{namespace}/{name}"


def _ago(text: str, now: float) -> str:
    return f"{age(text, now)} ago" if text else "never"


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
