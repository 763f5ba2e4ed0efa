"""OTLP in JSON, as its specification's example has it."""

import json

import pytest

from edged.device.push.form import Answer
from edged.device.push.otel import form, number, verdict
from edged.device.push.parcels import Credentials, Parcel, Route
from edged.device.readings import Reading


def test_numbers_are_gauges_of_the_device() -> None:
    readings = (
        Reading("power", "float", "21.5", 1000),
        Reading("name", "string", "x", 1000),
        Reading("on", "boolean", "true", 2),
    )
    (request,) = form("gw-a", Credentials())([Parcel(1, "default", "meter", Route(), readings)])
    assert json.loads(request.body) == {
        "resourceMetrics": [
            {
                "resource": {
                    "attributes": [
                        {"key": "service.name", "value": {"stringValue": "edged"}},
                        {"key": "host.name", "value": {"stringValue": "gw-a"}},
                        {"key": "device.id", "value": {"stringValue": "default/meter"}},
                    ]
                },
                "scopeMetrics": [
                    {
                        "scope": {"name": "edged"},
                        "metrics": [
                            {"name": "power", "gauge": {"dataPoints": [{"timeUnixNano": "1000000000", "asDouble": 21.5}]}},
                            {"name": "on", "gauge": {"dataPoints": [{"timeUnixNano": "2000000", "asDouble": 1.0}]}},
                        ],
                    }
                ],
            }
        ]
    }


def test_what_holds_no_number_is_not_sent() -> None:
    assert list(form("gw-a", Credentials())([Parcel(1, "d", "m", Route(), (Reading("a", "string", "1", 1),))])) == []


@pytest.mark.parametrize(("type_", "value"), [("int", "x"), ("float", "1e999"), ("string", "1"), ("bytes", "00")])
def test_no_number(type_: str, value: str) -> None:
    assert number(Reading("a", type_, value, 0)) is None


@pytest.mark.parametrize(
    ("body", "rejected"),
    [
        (b"", 0),
        (b"{}", 0),
        (b'{"partialSuccess":{}}', 0),
        (b'{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"old"}}', 3),
        (b'{"partialSuccess":{"rejectedDataPoints":2}}', 2),
        (b"OK", 0),
        (b"\xff\x00", 0),
        (b'{"partialSuccess":{"rejectedDataPoints":"many"}}', 0),
    ],
)
def test_points_that_are_rejected_are_counted(body: bytes, rejected: int) -> None:
    assert verdict(Answer(200, body)) == rejected
