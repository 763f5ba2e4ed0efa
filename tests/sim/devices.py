"""Devices of a simulated group, which every node can reach. The service that serves them is the real one (edged/device)."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from edged.device.mapper import Found, Mappers, Sample, hears_nothing
from edged.device.worker import DEVICES
from edged.model.devices import Device, DeviceModel
from edged.model.failover import ANNOTATION
from edged.model.meta import JSON
from edged.model.objects import dump, key, typed
from edged.model.values import Value
from edged.store.store import Store
from edged.store.writes import Create

PROTOCOL = "sim"
CYCLE_MS = 3_600_000  # read once, at the start: what is asked is who is connected to a device
ANYWHERE = {"kubernetes.io/os": "linux"}
MODEL = Create(
    key(DeviceModel, "sim", "default"),
    "uid-model",
    dump(
        {
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "DeviceModel",
            "metadata": {"name": "sim", "namespace": "default", "uid": "uid-model"},
            "spec": {"protocol": PROTOCOL, "properties": [{"name": "value", "type": "INT", "accessMode": "ReadOnly"}]},
        }
    ),
)


def device(name: str, rule: str) -> Create:
    """A device that any node may serve."""
    spec = {
        "deviceModelRef": {"name": "sim"},
        "nodeSelector": ANYWHERE,
        "protocol": {"protocolName": PROTOCOL, "configData": {"device": name}},
        "properties": [
            {"name": "value", "collectCycle": CYCLE_MS, "reportCycle": CYCLE_MS, "visitors": {"protocolName": PROTOCOL}}
        ],
    }
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": {ANNOTATION: rule}}
    body = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": metadata, "spec": spec}
    return Create(key(Device, name, "default"), f"uid-{name}", dump(body))


def homes(store: Store) -> dict[str, str]:
    """Of each device that any node may serve, the node that is to, as a store has it."""
    found = {obj.key.name: typed(obj, Device).spec for obj in store.list(DEVICES)}
    return {name: spec.node_name for name, spec in found.items() if spec.node_selector}


class Point(NamedTuple):
    """The one place on a device."""

    writable: bool = False

    def nearest(self, value: Value) -> Value:
        return value


class Session:
    """A node is connected to a device."""

    def __init__(self, name: str, tell: Callable[[str, str], None]) -> None:
        self._name, self._tell = name, tell
        tell("connects", name)

    async def read(self, points: Sequence[Point]) -> list[Found]:
        return [Sample(Decimal(1)) for _ in points]

    async def write(self, point: Point, value: Value) -> None:
        raise NotImplementedError("nobody writes to it")

    listen = staticmethod(hears_nothing)

    async def aclose(self) -> None:
        self._tell("leaves", self._name)


class Line:
    """The way of a node to the devices, as a mapper; `tell` is told when it "connects" to a device, and when it "leaves" it."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell

    def address(self, config: JSON) -> str:
        return str(config["device"])

    def point(self, type_: str, config: JSON) -> Point:
        return Point()

    async def connect(self, address: str) -> Session:
        return Session(address, self._tell)


def mappers(folder: Path, tell: Callable[[str, str], None]) -> Mappers:
    """A node's mappers, with this one among them."""
    made = Mappers(folder)
    made.offer({PROTOCOL: Line(tell)})
    return made
