"""Objects in the form a client asked for: as they are, as rows of a Table, or as their metadata (meta.k8s.io/v1)."""

from collections.abc import Sequence

from edged.api.cells import PRINTS, Column
from edged.api.negotiate import PARTIAL, PLAIN, Form
from edged.api.views import shown
from edged.model.kinds import Row
from edged.model.meta import JSON
from edged.model.objects import Object, typed, whole

NAME = Column("Name", format="name")


class Shape:
    """Turns objects of one kind into the form that was asked for. `included` says what a Table row carries of its object."""

    def __init__(self, row: Row, form: Form, included: str = "Metadata") -> None:
        self._row, self._form = row, form
        self._included = included or "Metadata"

    def one(self, obj: Object, now: float) -> JSON:
        """One object."""
        if self._form.what == PLAIN:
            return self._whole(obj)
        if self._form.what == PARTIAL:
            return self._partial(obj)
        return self._table([obj], str(obj.rv), now, columns=True)

    def many(self, objects: Sequence[Object], rv: int, now: float) -> JSON:
        """A list of objects as it is at change number `rv`."""
        metadata = {"resourceVersion": str(rv)}
        if self._form.what == PLAIN:
            items = [self._whole(obj) for obj in objects]
            return {"kind": f"{self._row.kind}List", "apiVersion": self._row.api_version, "metadata": metadata, "items": items}
        if self._form.what == PARTIAL:
            items = [self._partial(obj) for obj in objects]
            return {"kind": f"{PARTIAL}List", "apiVersion": self._form.api_version, "metadata": metadata, "items": items}
        return self._table(objects, str(rv), now, columns=True)

    def event(self, obj: Object, now: float, *, first: bool) -> JSON:
        """An object as a watch carries it: of its Tables only the first names the columns."""
        if self._form.what in (PLAIN, PARTIAL):
            return self.one(obj, now)
        return self._table([obj], str(obj.rv), now, columns=first)

    def bookmark(self, rv: int, annotations: JSON) -> JSON:
        """An object that says nothing but how far a watch has come."""
        metadata: JSON = {"resourceVersion": str(rv), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        if self._form.what in (PLAIN, PARTIAL):
            kind = self._row.kind if self._form.what == PLAIN else PARTIAL
            version = self._row.api_version if self._form.what == PLAIN else self._form.api_version
            return {"kind": kind, "apiVersion": version, "metadata": metadata}
        return {
            "kind": "Table",
            "apiVersion": self._form.api_version,
            "metadata": metadata,
            "columnDefinitions": [],
            "rows": [],
        }

    def _table(self, objects: Sequence[Object], rv: str, now: float, *, columns: bool) -> JSON:
        definitions = [_definition(column) for column in self._columns()] if columns else []
        rows = [self._cells(obj, now) for obj in objects]
        return {
            "kind": "Table",
            "apiVersion": self._form.api_version,
            "metadata": {"resourceVersion": rv},
            "columnDefinitions": definitions,
            "rows": rows,
        }

    def _columns(self) -> list[Column]:
        printed = PRINTS[self._row.acts]
        return [NAME, *printed.columns] if printed.name_first else list(printed.columns)

    def _cells(self, obj: Object, now: float) -> JSON:
        printed = PRINTS[self._row.acts]
        obj = shown(self._row, obj)
        cells = printed.cells(typed(obj, self._row.acts), now)
        row: JSON = {"cells": [obj.key.name, *cells] if printed.name_first else cells}
        if self._included == "Object":
            row["object"] = self._whole(obj)
        elif self._included == "Metadata":
            row["object"] = self._partial(obj)
        return row

    def _whole(self, obj: Object) -> JSON:
        """In the version that was asked for, whatever it was written in."""
        return {**whole(shown(self._row, obj)), "apiVersion": self._row.api_version}

    def _partial(self, obj: Object) -> JSON:
        return {"kind": PARTIAL, "apiVersion": self._form.api_version, "metadata": whole(shown(self._row, obj))["metadata"]}


def _definition(column: Column) -> JSON:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": "",
        "priority": 1 if column.wide else 0,
    }
