"""The verbs that make and change: create, update, patch, each decided on what is stored and written once."""

from collections.abc import Callable

import msgspec

from edged.api.admission import (
    Admitted,
    admit_changed,
    admit_new,
    admit_status,
    expected_rv,
    field_validation,
    warning_headers,
)
from edged.api.allocation import SERVICES, Addresses, Allocations
from edged.api.deletion import finished
from edged.api.exchange import Answer, Request, json_answer
from edged.api.patches import patched
from edged.api.protobuf import PROTOBUF, decode
from edged.api.reads import Reads
from edged.api.routes import Route
from edged.api.scale import SCALE, scale_of, scaled
from edged.api.status import StatusError, already_exists, conflict, invalid, invalid_option, not_found
from edged.errors import ConflictError, NotFoundError
from edged.model import causes
from edged.model.desired import refused
from edged.model.devices import Device, DeviceModel
from edged.model.documents import parse
from edged.model.kinds import BY_RESOURCE
from edged.model.meta import JSON
from edged.model.objects import Key, Object, dump, key, split, typed, whole
from edged.store.store import Store
from edged.store.writes import Create, Delete, Put, PutStatus, Write

MAX_TRIES = 5  # of a write whose object changed between its reading and its writing; then the client is told (409)
BODY_TYPES = ("application/json", "application/yaml", PROTOBUF)
NAMESPACES = "namespaces"
FIRST_STATUS: dict[str, JSON] = {"pods": {"phase": "Pending"}, NAMESPACES: {"phase": "Active"}, SERVICES: {"loadBalancer": {}}}


class Writes:
    """Takes writes to the store. `wall` is seconds since 1970, `new_uid` a new random UUID."""

    def __init__(
        self, store: Store, reads: Reads, addresses: Addresses, wall: Callable[[], float], new_uid: Callable[[], str]
    ) -> None:
        self._store, self._reads = store, reads
        self._allocations, self._wall, self._new_uid = Allocations(store, addresses), wall, new_uid

    async def create(self, route: Route, request: Request) -> Answer:
        """A new object of the body, in the route's namespace, which must be there."""
        policy = field_validation(request.query.get("fieldValidation", ""))
        admitted = admit_new(route, document(request), policy, self._new_uid(), self._wall())
        self._check_desired(route, admitted.value)
        with self._allocations.settled(route, admitted.value):
            obj = await self._create(route, admitted.value, dry_run=dry_run(request))
        return self._answer(route, request, obj, admitted.warnings, 201)

    async def _create(self, route: Route, value: JSON, *, dry_run: bool) -> Object:
        row, metadata = route.row, value["metadata"]
        key = Key(row.resource, route.namespace, metadata["name"])
        status = dump(FIRST_STATUS.get(row.resource, {})) if row.status else None
        create = Create(key, metadata["uid"], split(value)[0], status)
        for _ in range(MAX_TRIES):
            guard = self._guard(route)
            if self._store.get(key) is not None:
                raise already_exists(row, key.name)
            if dry_run:
                return Object(key, 0, create.uid, create.body, create.status)
            try:
                return (await self._store.write(*guard, create))[-1]
            except (ConflictError, NotFoundError):
                continue  # the namespace changed or went meanwhile: the guard looks again
        raise conflict(row, key.name, f"namespace {route.namespace} keeps changing")

    def _guard(self, route: Route) -> list[Write]:
        """A write that changes nothing, and fails when the namespace is no longer what it is now."""
        if not route.row.namespaced:
            return []
        namespace = self._store.get(Key(NAMESPACES, "", route.namespace))
        if namespace is None:
            raise not_found(BY_RESOURCE[NAMESPACES], route.namespace)
        return [Put(namespace.key, namespace.body, namespace.rv)]

    async def update(self, route: Route, request: Request) -> Answer:
        """The body in place of the object; with a resourceVersion only if that is what it replaces."""
        value = document(request)
        if route.subresource == SCALE:
            return await self._change(route, request, lambda obj: scaled(obj, value))
        return await self._change(route, request, lambda _: value)

    async def patch(self, route: Route, request: Request) -> Answer:
        """The object with the body's changes in it, made anew when it changed meanwhile."""
        row = route.row
        if route.subresource == SCALE:
            change = patched("", row.group, request.content_type, request.body)
            return await self._change(route, request, lambda obj: scaled(obj, change(scale_of(obj))))
        change = patched(row.kind, row.group, request.content_type, request.body)
        return await self._change(route, request, lambda obj: change({**whole(obj), "apiVersion": row.api_version}))

    async def _change(self, route: Route, request: Request, make: Callable[[Object], JSON]) -> Answer:
        """What `make` makes of the object in place of it; tried again when it changed, unless the client named a version."""
        policy = field_validation(request.query.get("fieldValidation", ""))
        for _ in range(MAX_TRIES):
            old = self._reads.existing(route)
            value = make(old)
            if expected_rv(value) not in (None, old.rv):
                raise conflict(route.row, route.name)
            admitted = (admit_status if route.subresource == "status" else admit_changed)(route, old, value, policy)
            self._check_desired(route, admitted.value, old)
            with self._allocations.settled(route, admitted.value, old):
                if dry_run(request):
                    body, status = split(admitted.value)
                    return self._answer(route, request, old._replace(body=body, status=status), admitted.warnings)
                try:
                    obj = (await self._store.write(_write(route, old, admitted)))[0]
                except ConflictError:
                    continue
            return self._answer(route, request, obj, admitted.warnings)
        raise conflict(route.row, route.name)

    def _check_desired(self, route: Route, value: JSON, old: Object | None = None) -> None:
        """StatusError when a device is to be what its model does not allow. A model that is not here yet refuses nothing."""
        if route.row.acts is not Device or route.subresource:
            return
        device = msgspec.convert(value, Device)
        model = self._store.get(key(DeviceModel, device.spec.device_model_ref.name, route.namespace))
        if model is not None:
            wrong = list(refused(device, typed(model, DeviceModel), None if old is None else typed(old, Device)))
            if wrong:
                raise invalid(route.row, device.metadata.name, wrong)

    def _answer(self, route: Route, request: Request, obj: Object, warnings: list[str], code: int = 200) -> Answer:
        if route.subresource == SCALE:
            answer = json_answer(code, scale_of(obj))
        else:
            answer = self._reads.shown(route, request, obj, code)
        return answer._replace(headers=[*answer.headers, *warning_headers(warnings)])


def _write(route: Route, old: Object, admitted: Admitted) -> Write:
    body, status = split(admitted.value)
    if route.subresource == "status":
        return PutStatus(old.key, status or b"{}", old.rv, old.uid)
    if finished(route.row, admitted.value):
        return Delete(old.key, old.rv, old.uid)
    return Put(old.key, body, old.rv)


def document(request: Request) -> JSON:
    """The object in a request's body; StatusError 415 when it is in a form that is not read here."""
    if request.content_type not in BODY_TYPES:
        accepted = ", ".join(BODY_TYPES)
        raise StatusError(415, f"the body of the request was in an unknown format - accepted media types include: {accepted}")
    return decode(request.body) if request.content_type == PROTOBUF else parse(request.body, request.content_type)


def dry_run(request: Request) -> bool:
    """Whether nothing shall be stored; StatusError when the query says something else than `All`."""
    asked = request.query.get("dryRun", "")
    if asked not in ("", "All"):
        raise invalid_option(causes.unsupported("dryRun", asked, ["All"]))
    return bool(asked)
