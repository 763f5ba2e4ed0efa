"""What a DELETE does: remove at once, or mark and let who runs or guards the object finish (graceful pods, finalizers)."""

from collections.abc import Mapping
from typing import NamedTuple

from edged.api.exchange import number
from edged.api.status import conflict, invalid_option
from edged.model import causes
from edged.model.core import Pod
from edged.model.deletion import MAX_GRACE_S, marked
from edged.model.kinds import Row
from edged.model.meta import JSON
from edged.model.objects import Object, split, typed, whole

ENDED = ("Succeeded", "Failed")
BACKGROUND, ORPHAN = "Background", "Orphan"


class Options(NamedTuple):
    """DeleteOptions: seconds of grace (None: the object's own), what becomes of dependents, and which object is meant."""

    grace: int | None = None
    orphan: bool = False
    uid: str | None = None
    rv: int | None = None
    dry_run: bool = False


def options(body: JSON, query: Mapping[str, str]) -> Options:
    """DeleteOptions out of a request's body, or its query; StatusError when they make no sense."""
    asked = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    grace = number(asked) if isinstance(asked, str) else asked
    if asked is not None and (type(grace) is not int or not 0 <= grace <= MAX_GRACE_S):
        raise invalid_option(causes.invalid("gracePeriodSeconds", asked, f"must be from 0 to {MAX_GRACE_S} seconds"))
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or BACKGROUND
    if policy not in (BACKGROUND, ORPHAN):
        raise invalid_option(causes.unsupported("propagationPolicy", policy, (BACKGROUND, ORPHAN)))
    conditions = body.get("preconditions") or {}
    uid, rv = (conditions.get("uid"), conditions.get("resourceVersion")) if isinstance(conditions, dict) else (0, 0)
    if not isinstance(uid, str | None) or (rv is not None and number(rv) is None):
        raise invalid_option(causes.invalid("preconditions", conditions, "must hold a uid or a resourceVersion"))
    dry_run = bool(body.get("dryRun") or query.get("dryRun"))
    orphan = policy == ORPHAN or body.get("orphanDependents") is True
    return Options(grace, orphan, uid, number(rv), dry_run)


def check(row: Row, obj: Object, asked: Options) -> None:
    """The object is the one that is meant; else StatusError 409."""
    if asked.uid not in (None, obj.uid):
        why = f"Precondition failed: UID in precondition: {causes.shown(asked.uid)}, UID in object meta: {obj.uid}"
        raise conflict(row, obj.key.name, why)
    if asked.rv not in (None, obj.rv):
        raise conflict(row, obj.key.name)


def waiting(row: Row, obj: Object, asked: Options, now: float) -> bytes | None:
    """The object's body when it has to wait for its end, marked with when that is; None when it may go at once."""
    grace = _grace(obj, asked) if row.acts is Pod else 0
    if not grace and not whole(obj)["metadata"].get("finalizers"):
        return None
    return marked(obj, grace, now)


def without_owner(obj: Object, uid: str) -> bytes | None:
    """A dependent's body without its reference to the owner `uid`; None when it has none."""
    value = whole(obj)
    references = value["metadata"].get("ownerReferences", [])
    kept = [reference for reference in references if reference.get("uid") != uid]
    if len(kept) == len(references):
        return None
    value["metadata"]["ownerReferences"] = kept
    return split(value)[0]


def finished(row: Row, value: JSON) -> bool:
    """Whether an object that waits for its end waits for nothing any more: its last finalizer went, and no node runs it."""
    metadata = value["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    return row.acts is not Pod or not metadata.get("deletionGracePeriodSeconds")


def _grace(obj: Object, asked: Options) -> int:
    """Seconds that a pod has to end by itself: none when nothing of it runs."""
    pod = typed(obj, Pod)
    if not pod.spec.node_name or pod.status.phase in ENDED:
        return 0
    return pod.spec.termination_grace_period_seconds if asked.grace is None else asked.grace
