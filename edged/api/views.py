"""Kinds of which nothing is stored: each shows a part of the objects of another. DeviceStatus shows a Device's status."""

import uuid

from edged.model.kinds import BY_RESOURCE, Row
from edged.model.meta import JSON
from edged.model.objects import Key, Object, dump, whole

KEPT = ("name", "namespace", "labels", "creationTimestamp")  # of the metadata of what is shown


def source(row: Row) -> str:
    """The resource whose objects a kind shows: its own, or another's."""
    return row.shows or row.resource


def shown(row: Row, obj: Object) -> Object:
    """An object of `source(row)` as one of the row's kind. Its uid follows from the other's, so every node shows the same."""
    if not row.shows:
        return obj
    about = whole(obj)["metadata"]
    uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{row.resource}/{obj.uid}"))
    metadata: JSON = {name: about[name] for name in KEPT if name in about}
    metadata |= {"uid": uid, "ownerReferences": [_owner(obj)]}
    body = {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata}
    return Object(Key(row.resource, obj.key.namespace, obj.key.name), obj.rv, uid, dump(body), obj.status)


def _owner(obj: Object) -> JSON:
    row = BY_RESOURCE[obj.key.resource]
    return {"apiVersion": row.api_version, "kind": row.kind, "name": obj.key.name, "uid": obj.uid, "controller": True}
