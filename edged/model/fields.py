"""The table of fields: which type each field of each Kubernetes and KubeEdge kind has.

`fields.json` is generated (build/schema), the others are written by hand. A type is `string`, `boolean`, `int32`,
`int64`, `number`, `any`, `bytes` (base64), `Time`, `MicroTime`, `Quantity`, `IntOrString`, the name of another row,
`[]T` (a list) or `{}T` (a map). "!" behind it says that the field is required. The files are read at first use, and a
row becomes Python objects when it is first asked for: a node that serves pods never builds the rows of volumes.
"""

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

FILES = ("fields.json", "devices.json", "istio.json", "multicluster.json", "routing.json")


class Fields(NamedTuple):
    """One row: field name -> type, and the names of the required fields."""

    types: dict[str, str]
    required: tuple[str, ...]


@cache
def fields(name: str) -> Fields:
    """The row of a type; KeyError for a name that has none."""
    written = msgspec.json.decode(_table()[name], type=dict[str, str])
    types = {sys.intern(field): sys.intern(of.rstrip("!")) for field, of in written.items()}
    return Fields(types, tuple(field for field, of in written.items() if of.endswith("!")))


def is_struct(of: str) -> bool:
    """Whether a type is a row of the table."""
    return of in _table()


def has(kind: str, path: Iterable[str]) -> bool:
    """Whether a kind has a field where a path of names leads; a map has any name, a list has none."""
    of = kind
    for name in path:
        if of.startswith("{}"):
            return True
        if not is_struct(of) or name not in fields(of).types:
            return False
        of = fields(of).types[name]
    return True


@cache
def _table() -> dict[str, msgspec.Raw]:
    table: dict[str, msgspec.Raw] = {}
    for file in FILES:
        table |= msgspec.json.decode(Path(__file__).with_name(file).read_bytes(), type=dict[str, msgspec.Raw])
    return table
