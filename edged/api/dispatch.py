"""From a request to its answer: who may, which path, which verb, and every error as a Status."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain

from edged.api import openapi
from edged.api.admission import warning_headers
from edged.api.allocation import Addresses
from edged.api.discovery import SCALED, discovery, version
from edged.api.exchange import JSON_TYPE, Answer, ByteStream, Request, flag, json_answer, text_answer
from edged.api.histories import gathered
from edged.api.http import describe
from edged.api.logs import opening
from edged.api.metrics import CONTENT_TYPE, Figure, Requests, exposition
from edged.api.negotiate import form
from edged.api.observed import Observed
from edged.api.reads import Reads
from edged.api.removals import Removals
from edged.api.routes import Route, parted, route
from edged.api.scale import scale_of
from edged.api.status import StatusError, of_error
from edged.api.things import calling, history, serving
from edged.api.writes import Writes
from edged.errors import EdgedError
from edged.identity.certificates import Subject
from edged.kit.log import Log
from edged.model.core import Pod
from edged.model.devices import Device
from edged.model.kinds import BY_RESOURCE
from edged.model.meta import JSON
from edged.model.objects import typed
from edged.store.store import Store
from edged.wire.peer import DeviceCall, DeviceHistory, Logs

HEALTH = ("/healthz", "/livez", "/readyz")
PUBLIC = (*HEALTH, "/version")  # what anyone who reaches the port may know, as in Kubernetes
NODE = "/edged/v1/"  # what this node says to its own commands: not a part of Kubernetes
STATUS = NODE + "status"
NETCHECK = NODE + "netcheck"
PING = NODE + "ping/"  # and the name of another node
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WRITES = ("POST", "PUT", "PATCH")
LINES_TYPE = "application/x-ndjson"
NOWHERE = "the server could not find the requested resource"

OpenLogs = Callable[[Logs, str], Awaitable[ByteStream]]
OpenDevice = Callable[[DeviceCall | DeviceHistory, str], Awaitable[ByteStream]]
Verb = Callable[[Route, Request], Answer | Awaitable[Answer]]


class Dispatch:
    """Answers requests out of the store.

    `open_logs(opening, node)` opens what a container on a node printed, `open_device(opening, node)` what a device there
    answers, `figures()` are further lines of `/metrics`,
    `status()` is what `edged status` shows, `netcheck()` and `ping(node)` what these commands do, `me` is this node. A declared
    error is the answer that it names; a bug is a 500 and a line in the log, and the daemon goes on.
    """

    def __init__(
        self,
        store: Store,
        addresses: Addresses,
        open_logs: OpenLogs,
        open_device: OpenDevice,
        wall: Callable[[], float],
        new_uid: Callable[[], str],
        figures: Callable[[], Iterable[Figure]],
        status: Callable[[], JSON],
        netcheck: Callable[[], Awaitable[JSON]],
        ping: Callable[[str], Awaitable[JSON]],
        log: Log,
        me: Subject,
    ) -> None:
        self._store, self._open_logs, self._open_device = store, open_logs, open_device
        self._wall, self._log = wall, log
        self._figures, self._status, self._netcheck, self._ping = figures, status, netcheck, ping
        self._reads = Reads(store, wall)
        self._writes = Writes(store, self._reads, addresses, wall, new_uid)
        self._removals = Removals(store, self._reads, wall)
        self._observed, self._me = Observed(store, me, wall), me
        self._requests = Requests()

    async def answer(self, request: Request) -> Answer:
        """The answer to a request; raises nothing."""
        group, path = parted(request.path)
        request, place = request._replace(path=path), route(path)
        row, name = (place.row, place.name) if place is not None else (None, "")
        try:
            _authorize(request)
            if group:
                answer = await self._foreign(group, place, request)
            else:
                answer = await (self._resource(place, request) if place is not None else self._other(request))
        except EdgedError as error:
            answer = of_error(error, row, name).answer()
        except Exception as error:  # a bug in one request is answered and told, it does not take the gateway down
            self._log.error(f"{request.method} {request.path[:256]!r} failed by a bug: {describe(error)}")
            answer = StatusError(500, f"Internal error occurred: {type(error).__name__}").answer()
        method = request.method if request.method in METHODS else "other"
        self._requests.count(method, row.resource if row is not None else "", answer.status)
        return answer

    async def _foreign(self, group: str, place: Route | None, request: Request) -> Answer:
        """What is asked of a group that this node observes: its objects, and what clients ask before they work."""
        self._observed.check(group)
        if place is not None:
            return self._observed.answer(group, place, request)
        if not request.path.startswith(("/api", "/openapi", *PUBLIC)):
            raise StatusError(404, NOWHERE)
        return await self._other(request)

    async def _resource(self, place: Route, request: Request) -> Answer:
        verb = self._verb(place, request)
        if self._me.limited and request.method != "GET":  # no other node would take it
            why = f"node {self._me.name} is limited, it writes for itself alone"
            raise StatusError(403, f"forbidden: {why}: ask another node of group {self._me.group}")
        if place.row.shows and request.method != "GET":
            written = BY_RESOURCE[place.row.shows].plural
            raise StatusError(405, f"{place.row.plural} show what {written} say: they are read, and {written} are written")
        if place.row.made and request.method in WRITES:
            raise StatusError(405, f"{place.row.plural} are made by edged: they can be read and deleted, not written")
        if verb is None:
            raise StatusError(405, "the server does not allow this method on the requested resource")
        if place.subresource != "log":
            form(request.accept)  # a client that takes no JSON learns so before anything is written
        answer = verb(place, request)
        return answer if isinstance(answer, Answer) else await answer

    def _verb(self, place: Route, request: Request) -> Verb | None:
        """What a method does at a place; StatusError 404 when the place is nowhere, None when it is nothing there."""
        row, reads, writes = place.row, self._reads, self._writes
        match place.subresource:
            case "" if place.name:
                one: dict[str, Verb] = {"GET": reads.get, "PUT": writes.update, "PATCH": writes.patch}
                return {**one, "DELETE": self._removals.delete}.get(request.method)
            case "":
                collection: dict[str, Verb] = {"GET": reads.watch if flag(request.query, "watch") else reads.list_all}
                if place.namespace or not row.namespaced:
                    collection |= {"POST": writes.create, "DELETE": self._removals.delete_all}
                return collection.get(request.method)
            case "status" if row.status:
                status: dict[str, Verb] = {"GET": reads.get, "PUT": writes.update, "PATCH": writes.patch}
                return status.get(request.method)
            case "scale" if row.resource == SCALED:
                scale: dict[str, Verb] = {"GET": self._scale, "PUT": writes.update, "PATCH": writes.patch}
                return scale.get(request.method)
            case "log" if row.acts is Pod:
                return self._logs if request.method == "GET" else None
            case "call" if row.acts is Device:
                return self._call if request.method == "POST" else None
            case "history" if row.acts is Device:
                return self._history if request.method == "GET" else None
        raise StatusError(404, NOWHERE)

    async def _call(self, place: Route, request: Request) -> Answer:
        device = typed(self._reads.existing(place), Device)
        answer = await self._open_device(calling(device, request.body), serving(device))
        return Answer(200, [("Content-Type", JSON_TYPE)], answer)

    async def _history(self, place: Route, request: Request) -> Answer:
        device = typed(self._reads.existing(place), Device)
        nodes = {each.key.name for each in self._store.list("nodes")} | {self._me.name, device.spec.node_name} - {""}
        found = await gathered(self._open_device, history(device, request.query), sorted(nodes))
        missing = [f"what it said on node {node} is missing: {why}" for node, why in sorted(found.missing.items())]
        return Answer(200, [("Content-Type", LINES_TYPE), *warning_headers(missing)], found.lines)

    def _scale(self, place: Route, request: Request) -> Answer:
        return json_answer(200, scale_of(self._reads.existing(place)))

    async def _logs(self, place: Route, request: Request) -> Answer:
        pod = typed(self._reads.existing(place), Pod)
        stream = await self._open_logs(opening(pod, request.query, self._wall()), pod.spec.node_name)
        return Answer(200, [("Content-Type", "text/plain")], stream)

    async def _other(self, request: Request) -> Answer:
        path = request.path.rstrip("/") or "/"
        found = discovery(path)
        if found is None and path.startswith(("/api/", "/apis/")):
            raise StatusError(404, NOWHERE)  # for every method: so clients learn that a kind is not here
        if request.method not in ("GET", "HEAD"):
            raise StatusError(405, "the server does not allow this method on the requested resource")
        if path in HEALTH:
            return text_answer(200, "ok")
        if path == "/version":
            return json_answer(200, version())
        if path.startswith(NODE):
            return json_answer(200, await self._of_node(path))
        if path == "/metrics":
            return text_answer(
                200, exposition(chain(self._requests.figures(), self._own_figures(), self._figures())), CONTENT_TYPE
            )
        if path == "/openapi/v2":
            if openapi.PROTOBUF_V2 in request.accept:
                return Answer(200, [("Content-Type", openapi.PROTOBUF_V2_ANSWER)], openapi.v2_protobuf())
            return json_answer(200, openapi.v2())
        if path.startswith("/openapi/v3"):
            found = openapi.v3(path)
        if found is None:
            raise StatusError(404, NOWHERE)
        return json_answer(200, found)

    async def _of_node(self, path: str) -> JSON:
        if path == STATUS:
            return self._status()
        if path == NETCHECK:
            return await self._netcheck()
        if path.startswith(PING):
            return await self._ping(path.removeprefix(PING))
        raise StatusError(404, NOWHERE)

    def _own_figures(self) -> Iterator[Figure]:
        yield Figure("edged_store_revision", "The number of the store's last change.", self._store.revision)


def _authorize(request: Request) -> None:
    if request.path in PUBLIC:
        return
    if request.caller is None:
        raise StatusError(401, "Unauthorized")
    if not request.caller.admin:
        raise StatusError(403, f'forbidden: User "{request.caller.user}" cannot {request.method} path "{request.path[:256]}"')
