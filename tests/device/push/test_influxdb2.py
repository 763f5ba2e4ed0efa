"""Line protocol, escaped as its documentation says."""

import pytest

from edged.device.push.influxdb2 import form, line
from edged.device.push.parcels import Credentials, Parcel, Route, Target
from edged.device.readings import Reading


@pytest.mark.parametrize(
    ("route", "reading", "expected"),
    [
        (Route("m", "f"), Reading("p", "float", "21.50", 1556813561098), "m f=21.5 1556813561098"),
        (Route("m", "f"), Reading("p", "double", "1e300", 1), "m f=1e+300 1"),
        (Route("m", "f"), Reading("p", "int", "-7", 1), "m f=-7i 1"),
        (Route("m", "f"), Reading("p", "int", "18446744073709551615", 1), "m f=1.8446744073709552e+19 1"),
        (Route("m", "f"), Reading("p", "boolean", "true", 1), "m f=true 1"),
        (Route("m", "f"), Reading("p", "string", 'say "a\\b"\nc', 1), 'm f="say \\"a\\\\b\\"\nc" 1'),
        (Route("m", "f"), Reading("p", "bytes", "00ff", 1), 'm f="00ff" 1'),
        (Route("my m,x", "a=b c", (("k k", "v,=v"),)), Reading("p", "int", "1", 1), "my\\ m\\,x,k\\ k=v\\,\\=v a\\=b\\ c=1i 1"),
        (Route("m\n", "f\\", (("empty", ""),)), Reading("p", "int", "1", 1), "m\\  f/=1i 1"),
    ],
)
def test_a_reading_is_a_point(route: Route, reading: Reading, expected: str) -> None:
    assert line(Parcel(1, "default", "meter", route, (reading,)), reading) == expected


def test_all_points_are_one_request_to_the_bucket() -> None:
    target = Target("influxdb2", "http://x:1", ("my org", "b&c"))
    readings = (Reading("p", "int", "1", 5), Reading("p", "int", "2", 6))
    (request,) = form(target, Credentials("tok"))([Parcel(1, "d", "m", Route("m", "f"), readings)])
    assert request.path == "/api/v2/write?org=my+org&bucket=b%26c&precision=ms"
    assert request.headers == {"Authorization": "Token tok"}
    assert request.body == b"m f=1i 5\nm f=2i 6"
