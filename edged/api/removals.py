"""The verbs that end objects: delete, deletecollection, and the end of a namespace with all that is in it."""

from collections.abc import Callable, Iterator

from edged.api.deletion import Options, check, options, waiting, without_owner
from edged.api.exchange import Answer, Request, json_answer
from edged.api.reads import Filter, Reads
from edged.api.routes import Route
from edged.api.status import conflict, forbidden
from edged.api.writes import MAX_TRIES, NAMESPACES, document, dry_run
from edged.errors import ConflictError, NotFoundError
from edged.model.kinds import KINDS, Row
from edged.model.objects import Object
from edged.store.store import Store
from edged.store.writes import Delete, Put, Write

DEFAULT_NAMESPACE = "default"  # is always there: clients that name none mean it


class Removals:
    """Ends objects in the store. `wall` is seconds since 1970."""

    def __init__(self, store: Store, reads: Reads, wall: Callable[[], float]) -> None:
        self._store, self._reads, self._wall = store, reads, wall

    async def delete(self, route: Route, request: Request) -> Answer:
        """One object: gone when this returns, or marked to end."""
        asked = _asked(request)
        for _ in range(MAX_TRIES):
            obj = self._reads.existing(route)
            check(route.row, obj, asked)
            writes = self._writes(route.row, obj, asked)
            gone = isinstance(writes[0], Delete)
            try:
                after = obj if dry_run(request) or asked.dry_run else (await self._store.write(*writes))[0]
            except (ConflictError, NotFoundError):
                continue  # it changed or went meanwhile: look again
            if gone and route.row.resource == NAMESPACES and after is not obj:
                await self._sweep(route.name)
            return _removed(route.row, obj) if gone else self._reads.shown(route, request, after)
        raise conflict(route.row, route.name)

    async def delete_all(self, route: Route, request: Request) -> Answer:
        """All objects that the query selects, in one transaction."""
        asked, filter_ = _asked(request), Filter(route.row, request.query)
        for _ in range(MAX_TRIES):
            objects = self._reads.select(route, filter_)
            writes = [write for obj in objects for write in self._writes(route.row, obj, asked)]
            try:
                if writes and not (dry_run(request) or asked.dry_run):
                    await self._store.write(*writes)
            except (ConflictError, NotFoundError):
                continue
            return self._reads.listed(route, request, objects)
        raise conflict(route.row, "")

    def _writes(self, row: Row, obj: Object, asked: Options) -> list[Write]:
        """What is to be written for the end of an object; the first is about the object itself."""
        if row.resource == NAMESPACES and obj.key.name == DEFAULT_NAMESPACE:
            raise forbidden(row, obj.key.name, "this namespace may not be deleted")
        body = waiting(row, obj, asked, self._wall())
        if body is not None:
            return [Put(obj.key, body, obj.rv)]
        writes: list[Write] = [Delete(obj.key, obj.rv, obj.uid)]
        if row.resource == NAMESPACES:
            writes += [Delete(inner.key, None, inner.uid) for inner in self._inside(obj.key.name)]
        if asked.orphan:
            writes += self._orphans(obj)
        return writes

    def _orphans(self, owner: Object) -> Iterator[Write]:
        for dependent in self._inside(owner.key.namespace):
            body = without_owner(dependent, owner.uid)
            if body is not None:
                yield Put(dependent.key, body, dependent.rv)

    def _inside(self, namespace: str) -> Iterator[Object]:
        """What is in a namespace and of this group: the end of a site's namespace is not that of the fleet's objects."""
        for row in KINDS:
            if row.namespaced and row.scope == "group":
                yield from self._store.list(row.resource, namespace)

    async def _sweep(self, namespace: str) -> None:
        """What was made in a namespace between the decision to end it and its end."""
        for _ in range(MAX_TRIES):
            late = [Delete(obj.key, None, obj.uid) for obj in self._inside(namespace)]
            if not late:
                return
            try:
                await self._store.write(*late)
            except (ConflictError, NotFoundError):
                continue


def _asked(request: Request) -> Options:
    return options(document(request) if request.body else {}, request.query)


def _removed(row: Row, obj: Object) -> Answer:
    details = {"name": obj.key.name, "group": row.group, "kind": row.plural, "uid": obj.uid}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return json_answer(200, {**status, "details": {name: value for name, value in details.items() if value}})
