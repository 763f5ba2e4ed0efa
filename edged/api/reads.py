"""The verbs that change nothing: get, list, watch."""

import math
from collections.abc import Callable, Mapping

from edged.api.exchange import JSON_TYPE, Answer, Request, flag, json_answer, number
from edged.api.negotiate import Form, form
from edged.api.routes import Route
from edged.api.status import StatusError, not_found
from edged.api.tables import Shape
from edged.api.views import source
from edged.api.watch import DEFAULT_S, Followed, watch
from edged.errors import ExpiredError
from edged.model.fields import has
from edged.model.kinds import Row
from edged.model.objects import Key, Object, whole
from edged.model.selectors import FieldSelector, Selector, parse_fields, parse_labels
from edged.store.store import Store

WATCH_TYPE = f"{JSON_TYPE};stream=watch"
_NAME = ("metadata", "name")


class Filter:
    """Which objects of a kind a query selects by label and by field. StatusError 400 for a field that the kind has not."""

    def __init__(self, row: Row, query: Mapping[str, str]) -> None:
        self._labels: Selector = parse_labels(query.get("labelSelector", ""))
        self._fields: FieldSelector = parse_fields(query.get("fieldSelector", ""))
        for term in self._fields.requirements:
            if not has(row.kind, term.path):
                raise StatusError(400, f"field label not supported: {'.'.join(term.path)[:128]}")

    @property
    def name(self) -> str | None:
        """The one name that can match, None when any can."""
        names = (term.value for term in self._fields.requirements if term.path == _NAME and term.equal)
        return next(names, None)

    def matches(self, obj: Object) -> bool:
        """Whether an object is selected."""
        if not self._labels.requirements and not self._fields.requirements:
            return True
        value = whole(obj)
        return self._labels.matches(value["metadata"].get("labels") or {}) and self._fields.matches(value)


class Reads:
    """Answers reads out of the store. `wall` is seconds since 1970, for the ages in Tables.

    With `group` the objects are those of a group that this node observes; these are not watched.
    """

    def __init__(self, store: Store, wall: Callable[[], float], group: str | None = None) -> None:
        self._store, self._wall, self._group = store, wall, group

    def existing(self, route: Route) -> Object:
        """The object that a route names; StatusError 404 when there is none."""
        obj = self._store.get(Key(source(route.row), route.namespace, route.name), self._group)
        if obj is None:
            raise not_found(route.row, route.name)
        return obj

    def get(self, route: Route, request: Request) -> Answer:
        """One object."""
        return self.shown(route, request, self.existing(route))

    def shown(self, route: Route, request: Request, obj: Object, code: int = 200) -> Answer:
        """An object as the answer to a request, in the form that was asked for."""
        return json_answer(code, _shape(route, request).one(obj, self._wall()))

    def list_all(self, route: Route, request: Request) -> Answer:
        """The objects of a kind, whole lists at once: `limit` is a wish that need not be granted."""
        filter_ = Filter(route.row, request.query)
        if request.query.get("continue"):
            raise StatusError(410, "this continue token is not of this server, whose lists are whole: list again without it")
        since = _version(request.query)
        if since is not None and since > self._store.revision:
            raise ExpiredError(f"too large resource version: {since}, current: {self._store.revision}")
        return self.listed(route, request, self.select(route, filter_))

    def listed(self, route: Route, request: Request, objects: list[Object]) -> Answer:
        """Objects as the answer to a request."""
        return json_answer(200, _shape(route, request).many(objects, self._store.revision, self._wall()))

    def select(self, route: Route, filter_: Filter) -> list[Object]:
        """The objects that a route and a filter mean together."""
        found = self._store.list(source(route.row), route.namespace or None, self._group)
        return [obj for obj in found if filter_.matches(obj)]

    def watch(self, route: Route, request: Request) -> Answer:
        """A stream of what changes, from the given resourceVersion on, or from everything that is there."""
        query, filter_ = request.query, Filter(route.row, request.query)
        initial = flag(query, "sendInitialEvents")
        since = None if initial else _version(query)
        followed = Followed(
            resource=source(route.row),
            namespace=route.namespace or None,
            name=filter_.name,
            matches=filter_.matches,
            since=since or None,
            timeout=_timeout(query),
            bookmarks=flag(query, "allowWatchBookmarks"),
            initial=initial,
        )
        return Answer(200, [("Content-Type", WATCH_TYPE)], watch(self._store, followed, _shape(route, request), self._wall))


def _shape(route: Route, request: Request) -> Shape:
    wanted: Form = form(request.accept)
    return Shape(route.row, wanted, request.query.get("includeObject", ""))


def _version(query: Mapping[str, str]) -> int | None:
    """The resourceVersion of a query; None when it names none."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    version = number(text)
    if version is None:
        raise StatusError(400, f'resourceVersion: Invalid value: "{text[:32]}": must be a number')
    return version


def _timeout(query: Mapping[str, str]) -> float:
    try:
        seconds = float(query.get("timeoutSeconds") or DEFAULT_S)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise StatusError(400, "timeoutSeconds: Invalid value: must be a number of seconds")
    return min(seconds or DEFAULT_S, DEFAULT_S)
