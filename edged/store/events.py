"""What happened to an object, as Kubernetes Events (core/v1 Event): few, counted, soon forgotten, since flash wears out."""

import hashlib
from collections.abc import Callable

from edged.errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError, StorageError
from edged.kit.log import Log
from edged.model.core import Event, EventSource, ObjectReference
from edged.model.kinds import BY_RESOURCE
from edged.model.meta import ObjectMeta
from edged.model.objects import Key, Object, dump, key, split, typed, whole
from edged.model.times import format_time, parse_time
from edged.store.store import Store
from edged.store.writes import Create, Delete, Put

NORMAL = "Normal"
WARNING = "Warning"
REPEAT_S = 60.0  # the same event again within this time is not written
KEEP_S = 3600.0  # as long as an API server keeps events
MAX_OWN = 500  # events of one node; the oldest go first
MAX_MESSAGE = 1024  # characters, the API's own limit


class Recorder:
    """Records events of `component` on `node`. An event is a help, not a truth: when the disk refuses it, it is logged."""

    def __init__(self, store: Store, component: str, node: str, wall: Callable[[], float], log: Log) -> None:
        self._store, self._component, self._node, self._wall, self._log = store, component, node, wall, log

    async def record(self, about: Object, type_: str, reason: str, message: str) -> None:
        """`reason` (one CamelCase word) happened to `about`; the same event again only raises its count, once a minute."""
        now = self._wall()
        message = message[:MAX_MESSAGE]
        digest = hashlib.sha256("\0".join((about.uid, self._component, self._node, reason, message)).encode()).hexdigest()[:16]
        name, namespace = f"{about.key.name[:200].rstrip('-.')}.{digest}", _namespace(about)
        there = self._store.get(key(Event, name, namespace))
        try:
            if there is None:
                await self._store.write(self._new(about, Key("events", namespace, name), (type_, reason, message), now))
            elif now - _last(typed(there, Event)) >= REPEAT_S:
                await self._store.write(Put(there.key, _again(there, now)))
        except (AlreadyExistsError, NotFoundError, ConflictError):
            return  # somebody wrote or removed the same event meanwhile
        except StorageError as error:
            self._log.warning(f"event {reason} of {about.key} is not recorded: {error}")

    async def prune(self) -> None:
        """Remove this node's events that are older than an hour or beyond the newest MAX_OWN. StorageError."""
        now = self._wall()
        own = []
        for obj in self._store.list("events"):
            event = typed(obj, Event)
            if event.reporting_instance == self._node:
                own.append((_last(event), obj.key))
        own.sort(reverse=True)
        gone = [key for number, (at, key) in enumerate(own) if number >= MAX_OWN or now - at > KEEP_S]
        for each in gone:
            try:
                await self._store.write(Delete(each))
            except NotFoundError:
                continue  # a person was faster

    def _new(self, about: Object, event_key: Key, what: tuple[str, str, str], now: float) -> Create:
        row = BY_RESOURCE[about.key.resource]
        uid = hashlib.sha256(f"{event_key}{now}".encode()).hexdigest()
        uid = f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:32]}"
        at = format_time(now)
        event = Event(
            api_version="v1",
            kind="Event",
            metadata=ObjectMeta(name=event_key.name, namespace=event_key.namespace, uid=uid, creation_timestamp=at),
            involved_object=ObjectReference(
                row.kind, about.key.namespace, about.key.name, about.uid, row.api_version, str(about.rv)
            ),
            type=what[0],
            reason=what[1],
            message=what[2],
            count=1,
            first_timestamp=at,
            last_timestamp=at,
            source=EventSource(self._component, self._node),
            reporting_component=self._component,
            reporting_instance=self._node,
        )
        return Create(event_key, uid, dump(event))


def _last(event: Event) -> float:
    """When it was seen last, in seconds since 1970; long ago when it does not say so readably."""
    try:
        return parse_time(event.last_timestamp or "")
    except InvalidError:
        return 0.0


def _namespace(about: Object) -> str:
    return about.key.namespace or "default"  # events of objects without a namespace live in `default`, as in Kubernetes


def _again(there: Object, now: float) -> bytes:
    value = whole(there)
    value["count"] = int(value.get("count", 1)) + 1
    value["lastTimestamp"] = format_time(now)
    return split(value)[0]
