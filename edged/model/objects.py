"""An object as the house passes it around: its key, its number, its JSON; and the way to its typed struct and back."""

import json
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from edged.errors import InvalidError
from edged.model.kinds import BY_RESOURCE, BY_STRUCT
from edged.model.meta import JSON, Kind

K = TypeVar("K", bound=Kind)


class Key(NamedTuple):
    """Which object: GroupResource string, namespace ("" when the kind has none), name."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """`pods/default/web-0`, as in logs and errors."""
        return "/".join(part for part in self if part)


class Object(NamedTuple):
    """One object as the store holds it.

    `rv` is the node's own change number of its last change (`resourceVersion`). `body` is the JSON of everything but
    `status` and `metadata.resourceVersion`; `status` the JSON of the status, or None.
    """

    key: Key
    rv: int
    uid: str
    body: bytes
    status: bytes | None


def typed(obj: Object, kind: type[K]) -> K:
    """The object as its struct: the fields that edged acts on. Stored bodies were checked at the door.

    What the object is called is its key, whatever the body says: a peer may have stored another name there.
    """
    parsed = msgspec.json.decode(obj.body, type=kind)
    _, namespace, name = obj.key
    metadata = msgspec.structs.replace(
        parsed.metadata, name=name, namespace=namespace, resource_version=str(obj.rv), uid=obj.uid
    )
    changes: dict[str, Any] = {"metadata": metadata}
    if obj.status is not None and (status := _status_type(kind)) is not None:
        changes["status"] = msgspec.json.decode(obj.status, type=status)
    return msgspec.structs.replace(parsed, **changes)


@cache  # finding the fields of a struct takes five times as long as decoding it
def _status_type(kind: type[Kind]) -> Any:
    """The type of a kind's status; None when its struct has none."""
    return next((field.type for field in msgspec.structs.fields(kind) if field.name == "status"), None)


def check_stored(resource: str, value: bytes, *, status: bool) -> None:
    """InvalidError unless `typed` can read `value` as the body or status of a resource; unknown resources are not looked at.

    What comes from another node is checked so before it is stored: a reader here must never meet what it cannot read.
    """
    row = BY_RESOURCE.get(resource)
    if row is None:
        return
    kind: Any = row.acts
    if status:
        kind = _status_type(row.acts)
    try:
        if kind is not None:
            msgspec.json.decode(value, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidError(f"{resource}: not a {'status' if status else 'body'} of its kind: {error}") from error


def whole(obj: Object) -> JSON:
    """The object as JSON values, as a client of the API sees it."""
    value: JSON = json.loads(obj.body)
    value.setdefault("metadata", {})["resourceVersion"] = str(obj.rv)
    if obj.status is not None:
        value["status"] = json.loads(obj.status)
    return value


def split(value: JSON) -> tuple[bytes, bytes | None]:
    """JSON values into (body, status) as the store keeps them."""
    body = {name: part for name, part in value.items() if name != "status"}
    metadata = {name: part for name, part in body.get("metadata", {}).items() if name != "resourceVersion"}
    body["metadata"] = metadata
    status = value.get("status")
    return dump(body), None if status is None else dump(status)


def dump(value: Any) -> bytes:
    """JSON values or structs as compact JSON, keys in their order."""
    return msgspec.json.encode(value)


def key_of(parsed: Kind) -> Key:
    """The key of a typed object."""
    row = BY_STRUCT[type(parsed)]
    return Key(row.resource, parsed.metadata.namespace if row.namespaced else "", parsed.metadata.name)


def key(kind: type[Kind], name: str, namespace: str = "") -> Key:
    """The key of an object of a kind by its names."""
    return Key(BY_STRUCT[kind].resource, namespace, name)


def namespaced(resource: str) -> bool:
    """Whether objects of this resource live in a namespace."""
    return BY_RESOURCE[resource].namespaced
