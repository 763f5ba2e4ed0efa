"""How an object that has to end in its own time is marked for deletion (API conventions, `metadata.deletionTimestamp`)."""

from edged.model.meta import JSON
from edged.model.objects import Object, split, whole
from edged.model.times import format_time, parse_time

MAX_GRACE_S = 365 * 86400  # of an object's end: a year is for ever, and still a date


def marked(obj: Object, grace: int, now: float) -> bytes:
    """The object's body, to be gone `grace` seconds after `now` (from 0 to MAX_GRACE_S).

    A later mark may shorten the wait, never lengthen it.
    """
    value = whole(obj)
    metadata: JSON = value["metadata"]
    grace = max(0, min(grace, MAX_GRACE_S))
    ends = now + grace
    if metadata.get("deletionTimestamp"):
        ends = min(ends, parse_time(metadata["deletionTimestamp"]))
        grace = min(grace, metadata.get("deletionGracePeriodSeconds", grace))
    metadata["deletionTimestamp"] = format_time(ends)
    metadata["deletionGracePeriodSeconds"] = grace
    return split(value)[0]
