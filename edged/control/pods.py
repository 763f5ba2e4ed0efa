"""A pod as the controllers see it, parsed once a round; and the pod that takes its place. Pure."""

import uuid
from collections.abc import Iterable
from typing import NamedTuple

from edged.model.core import Pod
from edged.model.meta import OwnerReference
from edged.model.objects import Key, Object, dump, typed, whole
from edged.model.times import format_time
from edged.store.writes import Create, Delete

ENDED = ("Succeeded", "Failed")
PENDING = dump({"phase": "Pending"})
_OF_ONE = ("uid", "resourceVersion", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


class Owned(NamedTuple):
    """A pod: as the store has it, and as its struct."""

    object: Object
    pod: Pod

    @classmethod
    def of(cls, obj: Object) -> "Owned":
        """The pod of an object."""
        return cls(obj, typed(obj, Pod))

    @property
    def ready(self) -> bool:
        """Whether its Ready condition is True."""
        return any(each.type == "Ready" and each.status == "True" for each in self.pod.status.conditions)

    @property
    def going(self) -> bool:
        """Whether it is marked for deletion, or has ended and is no use any more."""
        return self.pod.metadata.deletion_timestamp is not None or self.pod.status.phase in ENDED

    @property
    def controller(self) -> OwnerReference | None:
        """The object that made it and answers for it."""
        return next((each for each in self.pod.metadata.owner_references if each.controller), None)


class Parsed:
    """Pods as they were parsed in the round before: most have not changed since."""

    def __init__(self) -> None:
        self._known: dict[Key, Owned] = {}

    def read(self, objects: Iterable[Object]) -> list[Owned]:
        """The pods of these objects, which are all that there are."""
        known, self._known = self._known, {}
        for obj in objects:
            before = known.get(obj.key)
            same = before is not None and (before.object.rv, before.object.uid) == (obj.rv, obj.uid)
            self._known[obj.key] = before if before is not None and same else Owned.of(obj)
        return list(self._known.values())

    def forget(self) -> None:
        """Nobody will ask for a while."""
        self._known = {}


def next_uid(owner: str, name: str, last: str | None) -> str:
    """The uid of the pod of this name that follows the one of uid `last`; `owner` is its controller's uid, "" for none.

    Two nodes that know the same history make the very same pod.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{owner}/{name}/{last or ''}"))


def successor(each: Owned, now: float) -> tuple[Delete, Create]:
    """The writes that put a new pod of the same name and wish, bound to no node, in the place of this one."""
    obj = each.object
    owner = each.controller
    uid = next_uid(owner.uid if owner else "", obj.key.name, obj.uid)
    body = whole(obj)
    body.pop("status", None)
    kept = {name: value for name, value in body["metadata"].items() if name not in _OF_ONE}
    body["metadata"] = kept | {"uid": uid, "creationTimestamp": format_time(now)}
    body["spec"].pop("nodeName", None)
    return Delete(obj.key, rv=obj.rv, uid=obj.uid), Create(obj.key, uid, dump(body), PENDING)
