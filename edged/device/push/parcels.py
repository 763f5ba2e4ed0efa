"""What is sent, where to, as whom, and what every way of sending fulfils (pure)."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from edged.device.readings import Reading

TIMEOUT_S = 10.0  # for a target to answer, where the manifest does not say


class Target(NamedTuple):
    """One place that takes readings: one queue, one connection, however many properties name it.

    `url` and `names` (a bucket, a database) say where; `secret` is the "namespace/name" of the Secret, "" without one.
    """

    method: str
    url: str
    names: tuple[str, ...] = ()
    secret: str = ""
    timeout_s: float = TIMEOUT_S

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.method, self.url, *self.names)))
        return f"{where} (Secret {self.secret})" if self.secret else where


class Route(NamedTuple):
    """How a property's readings are called at its target; each method has its own use of these."""

    topic: str = ""  # mqtt; http: the path; influxdb2: the measurement
    field: str = ""  # influxdb2
    tags: tuple[tuple[str, str], ...] = ()  # influxdb2
    retained: bool = False  # mqtt


class Parcel(NamedTuple):
    """Those readings of a report that go one route to one target; a repeat has the same id and route."""

    id: int
    namespace: str
    device: str
    route: Route
    readings: tuple[Reading, ...]


class Credentials(msgspec.Struct, frozen=True):
    """As whom to speak to a target; `ca` is the PEM of authorities beside the machine's own."""

    token: str = ""
    user: str = ""
    password: str = ""
    ca: str = ""

    def __repr__(self) -> str:
        """Without what it holds."""
        return "Credentials(...)"


class Sender(Protocol):
    """Brings parcels to one target. Used by one task; made anew after each UnreachableError and DeniedError."""

    async def send(self, parcels: Sequence[Parcel]) -> int:
        """The target has all of them, in this order, when this returns; how many readings it will never take.

        UnreachableError: it is away; which of them it has is not known. DeniedError: it refuses us, whatever we send.
        InvalidError: it refuses these; fewer may be taken.
        """


class Said(msgspec.Struct, frozen=True, gc=False, rename={"at": "timestamp"}):
    """A reading as JSON; `timestamp` is in milliseconds since 1970."""

    property: str
    type: str
    value: str
    at: int


class Document(msgspec.Struct, frozen=True):
    """A parcel as JSON. Repeats have the same `node` and `id`."""

    node: str
    id: int
    namespace: str
    device: str
    readings: list[Said]


def document(parcel: Parcel, node: str) -> Document:
    """What http and mqtt send of a parcel."""
    readings = [Said(each.property, each.type, each.value, each.time) for each in parcel.readings]
    return Document(node, parcel.id, parcel.namespace, parcel.device, readings)


def encode(value: Any) -> bytes:
    """As JSON."""
    return _ENCODER.encode(value)


def size(parcel: Parcel) -> int:
    """Bytes that it takes on its way, about."""
    return 100 + sum([60 + len(each.property) + len(each.value) for each in parcel.readings])


_ENCODER = msgspec.json.Encoder()
