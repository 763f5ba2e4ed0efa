"""A watch: what changes among the objects that a client follows, as lines of JSON for as long as it listens."""

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

import trio

from edged.api.status import StatusError, of_error
from edged.api.tables import Shape
from edged.errors import ExpiredError
from edged.model.meta import JSON
from edged.model.objects import Key, Object, dump
from edged.store.store import Store
from edged.store.writes import ADDED, DELETED, MODIFIED, Change

DEFAULT_S = 3600.0  # a watch ends after this when the client names no time: it then comes again, to whoever serves now
BOOKMARK_S = 60.0  # between bookmarks while nothing changes: so long a quiet watch stays younger than the store's window
Events = list[tuple[str, Object]]
INITIAL_END: JSON = {"k8s.io/initial-events-end": "true"}


class Followed(NamedTuple):
    """What a client follows: objects of a resource, in one namespace or all (None), of one name or all (None), that match.

    `since` None: begin with what is there; `initial`: mark where that ends with a bookmark. `timeout` in seconds.
    """

    resource: str
    namespace: str | None
    name: str | None
    matches: Callable[[Object], bool]
    since: int | None
    timeout: float
    bookmarks: bool
    initial: bool


async def watch(store: Store, followed: Followed, shape: Shape, wall: Callable[[], float]) -> AsyncGenerator[bytes, None]:
    """The events of a watch, one or more whole lines at a time. Ends after its time, or with an ERROR event 410."""
    lines, selection = Lines(shape, wall), Selection(followed)
    deadline = trio.current_time() + followed.timeout
    rv = store.revision if followed.since is None else followed.since
    try:
        if followed.since is None:
            lines.add(selection.begin(store.list(followed.resource, followed.namespace)))
            if followed.initial:
                lines.bookmark(rv, INITIAL_END)
        else:
            selection.resume(store.list(followed.resource, followed.namespace), store.changes(rv))
        while True:
            latest = store.revision
            for change in store.changes(rv):
                lines.add(selection.see(change))
            rv = latest
            if lines:
                yield lines.take()
            with trio.move_on_at(min(deadline, trio.current_time() + BOOKMARK_S)) as waited:
                await store.changed(rv)
            if trio.current_time() >= deadline:
                return
            if waited.cancelled_caught and followed.bookmarks:
                lines.bookmark(rv, {})
    except ExpiredError as error:
        lines.error(of_error(error))
        yield lines.take()


class Selection:
    """Which changes a client hears of, and as what: an object that stops matching is deleted for it, and the other way."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._shown: set[Key] = set()

    def begin(self, objects: list[Object]) -> Events:
        """The client knows nothing yet: everything that matches now."""
        return [event for obj in objects for event in self.see(Change(ADDED, obj.rv, obj))]

    def resume(self, objects: list[Object], changes: list[Change]) -> None:
        """The client listed before `changes`: it saw what matches and did not change since, and may have seen what did."""
        self._shown = {obj.key for obj in objects if self._followed.matches(obj)}
        for change in reversed(changes):
            if change.type == ADDED:
                self._shown.discard(change.object.key)
            else:
                self._shown.add(change.object.key)

    def see(self, change: Change) -> Events:
        """The events for a change: none, or one."""
        obj, followed = change.object, self._followed
        key = obj.key
        if key.resource != followed.resource:
            return []
        if followed.namespace not in (None, key.namespace) or followed.name not in (None, key.name):
            return []
        shown = key in self._shown
        if change.type != DELETED and followed.matches(obj):
            self._shown.add(key)
            return [(MODIFIED if shown else ADDED, obj)]
        self._shown.discard(key)
        return [(DELETED, obj)] if shown else []


class Lines:
    """Events as lines, collected until they are taken."""

    def __init__(self, shape: Shape, wall: Callable[[], float]) -> None:
        self._shape, self._wall = shape, wall
        self._lines: list[bytes] = []
        self._first = True

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, events: Events) -> None:
        """Something happened to objects."""
        for type_, obj in events:
            self._line(type_, self._shape.event(obj, self._wall(), first=self._first))
            self._first = False

    def bookmark(self, rv: int, annotations: JSON) -> None:
        """The watch has come this far."""
        self._line("BOOKMARK", self._shape.bookmark(rv, annotations))

    def error(self, error: StatusError) -> None:
        """The watch cannot go on."""
        self._line("ERROR", error.status())

    def take(self) -> bytes:
        """All lines since the last time."""
        taken = b"".join(self._lines)
        self._lines.clear()
        return taken

    def _line(self, type_: str, value: JSON) -> None:
        self._lines.append(dump({"type": type_, "object": value}) + b"\n")
