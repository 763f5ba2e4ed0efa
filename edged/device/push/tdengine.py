"""pushMethod dbMethod.TDEngine: SQL to the REST interface of a TDengine (pure).

docs.tdengine.com, "REST API". Tables are KubeEdge's: a super table "namespace/device" of deviceid, propertyname, data and
type, and below it one table a property. A point's time is its key, so a repeat changes nothing.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from edged.device.push.form import Answer, Form, Request
from edged.device.push.parcels import Credentials, Parcel, Target
from edged.errors import DeniedError, InvalidError

TEXT = 512  # bytes of a value, KubeEdge's limit of a twin
NAME = 192  # characters of a table's name (docs, "Limits")
REFUSED = {0x0357, 0x0388, 0x2603, 0x0362}  # authentication failure, no such database, no such table, table gone
_QUOTED = str.maketrans({"\\": "\\\\", "'": "\\'"})


def form(target: Target, credentials: Credentials) -> Form:
    """Makes requests; super tables are made before the first point of a device."""
    (database,) = target.names
    path = f"/rest/sql/{quote(database, safe='')}"
    basic = b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"}
    made: set[str] = set()

    def requests(parcels: Sequence[Parcel]) -> Iterator[Request]:
        for table in dict.fromkeys(_table(parcel) for parcel in parcels):
            if table not in made:
                yield Request(path, "text/plain; charset=utf-8", _create(table).encode(), headers)
                made.add(table)
        yield Request(path, "text/plain; charset=utf-8", insert(parcels).encode(), headers)

    return requests


def insert(parcels: Sequence[Parcel]) -> str:
    """All readings in one statement."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for parcel in parcels:
        device = f"{parcel.namespace}/{parcel.device}"
        for each in parcel.readings:
            row = f"({each.time},{_text(device)},{_text(each.property)},{_text(each.value)},{_text(each.type)})"
            rows.setdefault((_name(f"{device}/{each.property}"), _table(parcel), each.property), []).append(row)
    parts = [f"{own} USING {table} TAGS ({_text(name)}) VALUES {''.join(some)}" for (own, table, name), some in rows.items()]
    return f"INSERT INTO {' '.join(parts)}"


def verdict(answer: Answer) -> int:
    """TDengine says in the body what became of a statement: 0, or DeniedError, InvalidError."""
    try:
        said = msgspec.json.decode(answer.body, type=_Answer)
    except ValueError as error:
        raise DeniedError("what answers is no TDengine") from error
    if said.code & 0xFFFF in REFUSED:
        raise DeniedError(f"{said.desc} ({said.code:#x})")
    if said.code:
        raise InvalidError(f"{said.desc} ({said.code:#x})")
    return 0


class _Answer(msgspec.Struct):
    code: int
    desc: str = ""


def _table(parcel: Parcel) -> str:
    return _name(f"{parcel.namespace}/{parcel.device}")


def _create(table: str) -> str:
    text = f"binary({TEXT})"
    columns = f"ts timestamp, deviceid {text}, propertyname {text}, data {text}, type binary(64)"
    return f"CREATE STABLE IF NOT EXISTS {table} ({columns}) TAGS (localtion {text})"  # as KubeEdge spells it


def _name(text: str) -> str:
    return "`" + text.replace("`", "_").replace("\\", "_")[:NAME] + "`"


def _text(text: str) -> str:
    return f"'{text.translate(_QUOTED)}'"
