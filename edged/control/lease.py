"""The Lease object by which kubectl shows who leads the group. It decides nothing: membership does. Pure."""

import uuid

from edged.control.liveness import AGAIN_S
from edged.model.coordination import Lease
from edged.model.kinds import BY_STRUCT
from edged.model.objects import Key, Object, dump, split, typed, whole
from edged.model.times import format_micro, format_time
from edged.store.writes import Create, Put, Write

NAMESPACE = "kube-system"
KEY = Key(BY_STRUCT[Lease].resource, NAMESPACE, "edged-group")


class Sign:
    """When to write the Lease: on taking it; not again for AGAIN_S when another writes over it, who leads too."""

    def __init__(self) -> None:
        self._peace = float("-inf")

    def rest(self) -> None:
        """This node does not lead, or the disk took nothing: the next time it leads, it says so at once."""
        self._peace = float("-inf")

    def writes(self, there: Object | None, node: str, now: float, steady: float) -> list[Write]:
        """What `node`, which leads, is to write; `now` is the wall clock, `steady` one that does not jump."""
        writes = take(there, node, now) if steady >= self._peace else []
        if writes:
            self._peace = steady + AGAIN_S
        return writes


def take(there: Object | None, node: str, now: float) -> list[Write]:
    """The write that says that `node` leads; none while it says so already: a lease is written when it changes hands."""
    row = BY_STRUCT[Lease]
    spec = {"holderIdentity": node, "acquireTime": format_micro(now), "leaseTransitions": 0}
    if there is None:
        uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, "edged-group.leases.edged"))  # nodes that never met make the same object
        metadata = {"name": KEY.name, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": format_time(now)}
        return [Create(KEY, uid, dump({"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata, "spec": spec}))]
    said = typed(there, Lease).spec
    if said.holder_identity == node:
        return []
    value = whole(there)
    value["spec"] = value.get("spec", {}) | spec | {"leaseTransitions": said.lease_transitions + 1}
    return [Put(there.key, split(value)[0], rv=there.rv)]
