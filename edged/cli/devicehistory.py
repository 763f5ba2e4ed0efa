"""`edged device history`: what a device said, from all nodes that served it: as sparklines, a table, CSV or JSON."""

import argparse
import csv
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from edged import config
from edged.api.ages import duration
from edged.cli import client, exits
from edged.cli.device import API
from edged.cli.sparkline import sparkline
from edged.cli.tables import Table, show
from edged.errors import InvalidError, ProtocolError

WAIT_S = 15.0  # for the daemon, which gives all nodes 10 s together
WIDTH = 48  # bars of a sparkline: with its property, unit and range it fits 100 columns
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHORTEN = 16  # characters of a value in a table


class Said(msgspec.Struct, frozen=True):
    """A reading; `time` is in milliseconds since 1970."""

    property: str
    type: str
    value: str
    time: int


def history(arguments: argparse.Namespace) -> int:
    """`edged device history`: exit 1 when there are no readings in that time, 3 when those of a node are missing."""
    path = Path(config.load(arguments.config, os.environ).api.socket)
    query = {"since": str(int((time.time() - seconds(arguments.since)) * 1000)), "limit": str(arguments.limit)}
    if arguments.property:
        query["property"] = arguments.property
    where = f"{API}/namespaces/{quote(arguments.namespace, safe='')}/devices/{quote(arguments.device, safe='')}/history"
    missing: list[str] = []
    asked = client.lines(path, f"{where}?{urlencode(query)}", wait=WAIT_S, warned=missing.append)
    found = [_said(line) for line in asked]
    if arguments.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("time", "property", "value"))
        writer.writerows((iso(each.time), each.property, each.value) for each in found)
    elif arguments.json:
        sys.stdout.write("".join(f"{json.dumps(msgspec.to_builtins(each))}\n" for each in found))
    elif found:
        show([table(found)], marked=lambda _row: False)
    for each in missing:
        sys.stderr.write(f"edged: degraded: {each}\n")
    if not found:
        sys.stderr.write(f"edged: no readings of {arguments.device} in the last {arguments.since}\n")
        return exits.FAILED
    return exits.DEGRADED if missing else exits.OK


def seconds(text: str) -> float:
    """A length of time such as 90s, 15m, 6h or 7d. InvalidError for another text."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise InvalidError(f'--since: expected a time such as 90s, 15m, 6h or 7d, got "{text}"')
    return int(found[1]) * UNITS[found[2]]


def iso(milliseconds: int) -> str:
    """A time in milliseconds since 1970 as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds / 1000)) + f".{milliseconds % 1000:03d}Z"


def table(found: Iterable[Said]) -> Table:
    """A row for each property: its course, its range, its last value."""
    by_property: dict[str, list[Said]] = {}
    for each in found:
        by_property.setdefault(each.property, []).append(each)
    rows = [_row(name, sorted(said, key=lambda each: each.time)) for name, said in sorted(by_property.items())]
    return Table(("PROPERTY", "COURSE", "LOWEST", "HIGHEST", "LAST", "READINGS", "OVER"), rows)


def _row(name: str, said: list[Said]) -> tuple[str, ...]:
    points = list(_points(said))
    span = duration((said[-1].time - said[0].time) / 1000)
    low, high = (f"{bound([value for _, value in points]):g}" if points else "" for bound in (min, max))
    return name, sparkline(points, WIDTH), low, high, said[-1].value[:SHORTEN], str(len(said)), span


def _points(said: Iterable[Said]) -> Iterator[tuple[float, float]]:
    words = {"true": 1.0, "false": 0.0}
    for each in said:
        if each.type == "string":
            continue
        try:
            yield each.time / 1000, words[each.value] if each.value in words else float(each.value)
        except ValueError:
            continue  # bytes have no course


def _said(line: Any) -> Said:
    try:
        return msgspec.convert(line, Said)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the daemon's answer is not understood: {error}") from error
