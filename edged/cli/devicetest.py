"""`edged device test`: connects to a device from here and reads it once, by a manifest or as it is stored; writes nothing."""
# ruff: noqa: PLC0415  what speaks with devices takes a while to import

import argparse
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from edged import config
from edged.cli import client, exits
from edged.cli.device import API
from edged.cli.tables import Table, show
from edged.errors import EdgedError, InvalidError, UnreachableError
from edged.model import schema, validate
from edged.model.defaults import default
from edged.model.devices import Device, DeviceModel
from edged.model.documents import read
from edged.model.kinds import BY_KIND
from edged.model.meta import Kind

WAIT_S = 30.0  # for the device: some are slow to take a connection
MAX_DOCUMENTS = 64


def test(arguments: argparse.Namespace) -> int:
    """`edged device test`: exit 0 when every property gives a value, 3 when one does not, 4 when the device is not reached."""
    settings = config.load(arguments.config, os.environ)
    path = Path(settings.api.socket)
    device, model = _of_file(arguments, path) if _is_file(arguments.device) else _stored(arguments, path)
    for text in _wrong(device):
        sys.stderr.write(f"edged: degraded: {text}\n")
    found, troubles = _tried(device, model, settings.state_dir)
    for text in troubles:
        sys.stderr.write(f"edged: degraded: {text}\n")
    show([Table(("PROPERTY", "VALUE", "UNIT", ""), found)], marked=lambda row: bool(row[3]))
    return exits.DEGRADED if troubles or any(row[3] for row in found) else exits.OK


def documents(text: str) -> list[Kind]:
    """The Devices and DeviceModels in a file of manifests. InvalidError says which one is wrong, and what in it."""
    found = []
    parts = [part for part in f"\n{text}".split("\n---") if part.strip()]
    if len(parts) > MAX_DOCUMENTS:
        raise InvalidError(f"{len(parts)} manifests, at most {MAX_DOCUMENTS} are read")
    values = [read(part.encode(), "application/yaml") for part in parts]
    for number, value in enumerate((value for value in values if value is not None), 1):
        if not isinstance(value, dict) or (row := BY_KIND.get((str(value.get("apiVersion")), str(value.get("kind"))))) is None:
            raise InvalidError(f"manifest {number} is of no kind that is known here")
        if row.acts in (Device, DeviceModel):
            found.append(_checked(value, row, f"manifest {number}"))
    return found


def _checked(value: dict[str, Any], row: Any, what: str) -> Kind:
    value.setdefault("metadata", {}).setdefault("namespace", "default")
    checked = schema.check(value, row)
    causes = list(checked.errors)
    if not causes:
        kind: Kind = msgspec.convert(default(checked.value, row), row.acts)
        causes = validate.validate(kind, row)
    if causes:
        raise InvalidError("; ".join(f"{what}: {cause.field}: {cause.message}" for cause in causes), causes)
    return kind


def _is_file(name: str) -> bool:
    return "/" in name or name.endswith((".yaml", ".yml", ".json"))


def _of_file(arguments: argparse.Namespace, path: Path) -> tuple[Device, DeviceModel | None]:
    """The device of a manifest; its model stands there too, or is stored."""
    found = documents(Path(arguments.device).read_text(encoding="utf-8"))
    devices = [each for each in found if isinstance(each, Device)]
    if len(devices) != 1:
        raise InvalidError(f"{arguments.device}: expected one Device, found {len(devices)}")
    name = devices[0].spec.device_model_ref.name
    models = [each for each in found if isinstance(each, DeviceModel) and each.metadata.name == name]
    return devices[0], models[0] if models else _model(path, devices[0])


def _stored(arguments: argparse.Namespace, path: Path) -> tuple[Device, DeviceModel | None]:
    where = f"{API}/namespaces/{quote(arguments.namespace, safe='')}/devices/{quote(arguments.device, safe='')}"
    device = msgspec.convert(client.get(path, where), Device)
    return device, _model(path, device)


def _model(path: Path, device: Device) -> DeviceModel | None:
    items = client.get(path, f"{API}/namespaces/{device.metadata.namespace}/devicemodels")["items"]
    found = (msgspec.convert(each, DeviceModel) for each in items)
    return next((each for each in found if each.metadata.name == device.spec.device_model_ref.name), None)


def _wrong(device: Device) -> list[str]:
    """What is worth saying before it is tried: another may be asking the device at the same time."""
    if device.spec.node_name and device.status.state == "ok":
        return [
            f"node {device.spec.node_name} reads this device already: one that takes one connection alone may refuse this one"
        ]
    return []


def _tried(device: Device, model: DeviceModel | None, state_dir: Path) -> tuple[list[tuple[str, ...]], list[str]]:
    """A row for each property that is wired, read once; and what is wired wrong. UnreachableError."""
    import trio

    from edged.device.mapper import Mappers
    from edged.device.trial import trial

    async def run() -> tuple[list[tuple[str, ...]], list[str]]:
        mappers = Mappers(state_dir)
        try:
            with trio.fail_after(WAIT_S):
                return await trial(device, model, mappers.find)
        except trio.TooSlowError as error:
            raise UnreachableError(f"the device did not answer within {WAIT_S:.0f} s") from error
        finally:
            with trio.CancelScope(shield=True):
                await mappers.aclose()

    try:
        return trio.run(run)
    except* EdgedError as errors:
        raise errors.exceptions[0] from None
