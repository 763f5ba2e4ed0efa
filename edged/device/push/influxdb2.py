"""pushMethod dbMethod.influxdb2: points in line protocol (pure).

docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol and /api/#operation/PostWrite. Numbers are written as
numbers, where KubeEdge's mappers write text. The same point twice is one point, so a repeat changes nothing.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from edged.device.push.form import Form, Request
from edged.device.push.parcels import Credentials, Parcel, Target
from edged.device.readings import Reading

INT64 = range(-(1 << 63), 1 << 63)
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", "\n": "\\ ", "\r": "\\ "})
_KEY = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\=", "\n": "\\ ", "\r": "\\ "})
_TEXT = str.maketrans({'"': '\\"', "\\": "\\\\"})


def form(target: Target, credentials: Credentials) -> Form:
    """Makes requests to write into the target's bucket."""
    org, bucket = target.names
    path = "/api/v2/write?" + urlencode({"org": org, "bucket": bucket, "precision": "ms"})
    headers = {"Authorization": f"Token {credentials.token}"}

    def requests(parcels: Sequence[Parcel]) -> Iterator[Request]:
        text = "\n".join(line(parcel, reading) for parcel in parcels for reading in parcel.readings)
        yield Request(path, "text/plain; charset=utf-8", text.encode(), headers)

    return requests


def line(parcel: Parcel, reading: Reading) -> str:
    """A reading as a point."""
    route = parcel.route
    tags = "".join(f",{_key(key)}={_key(text)}" for key, text in route.tags if key and text)
    return f"{_end(route.topic.translate(_MEASUREMENT))}{tags} {_key(route.field)}={_value(reading)} {reading.time}"


def _value(reading: Reading) -> str:
    value = reading.value
    match reading.type:
        case "int":
            return f"{value}i" if _is_int64(value) else _number(value)
        case "float" | "double":
            return _number(value)
        case "boolean":
            return "true" if value == "true" else "false"
    return f'"{value.translate(_TEXT)}"'


def _is_int64(text: str) -> bool:
    try:
        return int(text) in INT64
    except ValueError:
        return False


def _number(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return f'"{text.translate(_TEXT)}"'


def _key(text: str) -> str:
    return _end(text.translate(_KEY))


def _end(text: str) -> str:
    """A backslash at the end would escape what follows."""
    return f"{text[:-1]}/" if text.endswith("\\") else text
