"""pushMethod otel: gauges as OTLP/HTTP in JSON (pure).

opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding" and "OTLP/HTTP". As KubeEdge's mappers: a gauge called like the
property, on a resource whose `device.id` is "namespace/name". Only numbers and booleans (0, 1) are metrics: other values
are passed over. A point's time and series tell repeats.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from edged.device.push.form import Answer, Form, Request
from edged.device.push.http import authorization
from edged.device.push.parcels import Credentials, Parcel, encode
from edged.device.readings import Reading

NUMBERS = ("int", "float", "double")
NS_OF_MS = 1_000_000


def form(node: str, credentials: Credentials) -> Form:
    """Makes requests."""
    headers = authorization(credentials)

    def requests(parcels: Sequence[Parcel]) -> Iterator[Request]:
        if resources := [_resource(node, device, some) for device, some in _devices(parcels).items()]:
            yield Request("", "application/json", encode({"resourceMetrics": resources}), headers)

    return requests


def verdict(answer: Answer) -> int:
    """The points that were rejected: those are not to be sent again (OTLP, "Partial Success")."""
    try:
        return int(msgspec.json.decode(answer.body or b"{}", type=_Answer).partial.rejected or 0)
    except ValueError:
        return 0  # a receiver that answers in other words has taken them all the same


class _Partial(msgspec.Struct):
    rejected: int | str = msgspec.field(default=0, name="rejectedDataPoints")  # an int64 is a string in ProtoJSON


class _Answer(msgspec.Struct):
    partial: _Partial = msgspec.field(default_factory=_Partial, name="partialSuccess")


def number(reading: Reading) -> float | None:
    """Its value as a number; None when it is none that a double holds."""
    if reading.type == "boolean":
        return float(reading.value == "true")
    try:
        value = float(reading.value) if reading.type in NUMBERS else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _devices(parcels: Iterable[Parcel]) -> dict[str, dict[str, list[Any]]]:
    """{device id: {property: points}}, of what is a number."""
    found: dict[str, dict[str, list[Any]]] = {}
    for parcel in parcels:
        for reading in parcel.readings:
            if (value := number(reading)) is not None:
                point = {"timeUnixNano": str(reading.time * NS_OF_MS), "asDouble": value}
                metrics = found.setdefault(f"{parcel.namespace}/{parcel.device}", {})
                metrics.setdefault(reading.property, []).append(point)
    return found


def _resource(node: str, device: str, metrics: dict[str, list[Any]]) -> dict[str, Any]:
    attributes = {"service.name": "edged", "host.name": node, "device.id": device}
    return {
        "resource": {"attributes": [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()]},
        "scopeMetrics": [
            {
                "scope": {"name": "edged"},
                "metrics": [{"name": name, "gauge": {"dataPoints": points}} for name, points in metrics.items()],
            }
        ],
    }
