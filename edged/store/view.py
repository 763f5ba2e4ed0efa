"""How the registers of one key are seen as an object."""

from edged.model.objects import Key, Object
from edged.store.rows import Placed

At = tuple[str, str, str, str]  # a scope and a key: where an object stands
Pair = tuple[Placed | None, Placed | None]  # body and status


def seen(body: Placed | None, status: Placed | None) -> Object | None:
    """The object of two registers, or None when it has no body. A status of another uid or a tombstone is not shown."""
    if body is None or (there := body.register).value is None:
        return None
    value, rv = None, body.rv
    if status is not None and status.register.uid == there.uid and status.register.value is not None:
        value, rv = status.register.value, max(rv, status.rv)
    return Object(Key(there.resource, there.namespace, there.name), rv, there.uid, there.value, value)


def later(one: Placed | None, other: Placed | None) -> Placed | None:
    """Which of two registers of a place stands, when there are any."""
    if one is None or other is None:
        return one or other
    return one if one.register.beats(other.register) else other
