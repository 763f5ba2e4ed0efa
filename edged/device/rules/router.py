"""Follows the group's rules: between the doors, the broker and the services of this node, and to other nodes. A shell."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

import trio

from edged.device.bus.bus import Bus
from edged.device.bus.topics import matches
from edged.device.rules import servicebus, web
from edged.device.rules.counts import Counts
from edged.device.rules.table import Publish, Route, Service, Table, beyond, rest_route, table
from edged.device.rules.web import Answer, Asked
from edged.errors import DeniedError, ExpiredError, ProtocolError, UnreachableError
from edged.hub.stream import LinkStream
from edged.kit.address import parse_address
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.kit.supervise import supervise
from edged.model.kinds import BY_STRUCT
from edged.model.objects import typed
from edged.model.routing import EVENTBUS, REST, SERVICEBUS, Rule, RuleEndpoint
from edged.store.store import Store
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, DELIVERED, MAX_CONTROL, Deliver, Delivered, Opened, Opening, Refused

RULES, RULE_ENDPOINTS = BY_STRUCT[Rule].resource, BY_STRUCT[RuleEndpoint].resource
MAX_WAITING = 256  # messages of the broker that wait for a rule's target; further ones fail
WORKERS = 4  # messages of the broker that are delivered at a time: one slow target does not hold up all
FORWARD_S = 15.0  # for another node to deliver: its own limit, and the way there and back
RECEIVE = 64 << 10  # bytes asked of a stream at once
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0  # a door whose address is taken

OpenStream = Callable[[str, Opening], Awaitable[LinkStream]]


class Rules:
    """The rules as `node` follows them. `rest` and `servicebus` are the addresses of its doors, "" for none.

    A door is open while there is a rule that needs it.
    """

    def __init__(
        self, store: Store, bus: Bus, node: str, rest: str, servicebus: str, open_stream: OpenStream, random: Random, log: Log
    ) -> None:
        self._store, self._bus, self._node, self._open_stream = store, bus, node, open_stream
        self._doors = ((REST, rest, self._rest), (SERVICEBUS, servicebus, self._servicebus))
        self._random, self._log = random, log
        self._table = Table()
        self._changed = trio.Event()
        self._counts = Counts(store)
        self._to_deliver, self._delivering = trio.open_memory_channel[tuple[Route, bytes]](MAX_WAITING)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started when the rules of the store are known."""
        self._bus.on_other = self._heard
        seen = self._store.revision
        self._refresh()
        async with trio.open_nursery() as nursery:
            for kind, listen, handle in self._doors:
                if listen:
                    nursery.start_soon(self._door, kind, listen, handle)
            for _ in range(WORKERS):
                nursery.start_soon(self._work)
            nursery.start_soon(self._counts.run)
            task_status.started()
            while True:
                revision = await self._store.changed(seen)
                if self._concerned(seen):
                    self._refresh()
                seen = revision

    async def serve(self, peer: str, asked: Deliver, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer a peer's `Deliver` stream: what came in at its door goes to a target of this node."""
        async with stream:
            route = next((each for each in self._table.routes if each.rule[1:] == (asked.namespace, asked.rule)), None)
            if route is None or "/" in peer:  # a node of another group
                await stream.send_all(framed(ANSWER.encode(Refused(f"there is no rule {asked.namespace}/{asked.rule}"))))
                return
            try:
                with trio.fail_after(FORWARD_S):
                    await stream.send_all(framed(ANSWER.encode(Opened())))
                    body = await _to_end(stream)
                    answer = await self._deliver(route, asked.rest, Asked(asked.method, "", asked.content_type, body))
                    head = framed(DELIVERED.encode(Delivered(answer.code, answer.content_type)))
                    await stream.send_all(head + answer.body)
                    await stream.send_eof()
            except (trio.BrokenResourceError, trio.TooSlowError, ProtocolError):
                return  # the peer is gone, or slow: it tells its caller

    # The rules

    def _concerned(self, since: int) -> bool:
        try:
            return any(each.object.key.resource in (RULES, RULE_ENDPOINTS) for each in self._store.changes(since))
        except ExpiredError:
            return True

    def _refresh(self) -> None:
        endpoints = {each.key[1:]: typed(each, RuleEndpoint) for each in self._store.list(RULE_ENDPOINTS)}
        self._table = table([(each.key, typed(each, Rule)) for each in self._store.list(RULES)], endpoints)
        for rule, problem in self._table.problems.items():
            self._counts.problem(rule, problem)
        self._bus.want({each.where for each in self._of(EVENTBUS)})
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _of(self, kind: str) -> list[Route]:
        """The routes that begin here."""
        return [each for each in self._table.routes if each.source == kind and each.node in ("", self._node)]

    # What comes in

    async def _door(self, kind: str, listen: str, handle: web.Handle) -> None:
        while True:
            if self._of(kind):
                async with trio.open_nursery() as nursery:
                    serve = partial(web.serve, parse_address(listen), handle)
                    backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S, self._random)
                    nursery.start_soon(partial(supervise, serve, outages=(UnreachableError,), backoff=backoff, log=self._log))
                    while self._of(kind):
                        await self._changed.wait()
                    nursery.cancel_scope.cancel()
            await self._changed.wait()

    async def _rest(self, asked: Asked) -> Answer:
        """/NODE/NAMESPACE/PATH, as KubeEdge's router has it."""
        node, _, rest = asked.path.partition("?")[0].lstrip("/").partition("/")
        namespace, _, path = rest.partition("/")
        found = rest_route(self._table.routes, namespace, path)
        if found is None:
            return web.text(404, f"no rule of namespace {namespace} has a path that begins /{path}")
        route, beyond_it = found
        if node == self._node or not isinstance(route.target, Publish | Service):
            return await self._deliver(route, beyond_it, asked)
        try:
            with trio.fail_after(FORWARD_S):
                return await self._forward(node, route, beyond_it, asked)
        except trio.TooSlowError:
            return web.text(504, f"node {node} gives no answer within {FORWARD_S:g} s")
        except (UnreachableError, DeniedError, ProtocolError, trio.BrokenResourceError) as error:
            self._counts.failed(route.rule, str(error))
            return web.text(502, str(error))

    async def _forward(self, node: str, route: Route, rest: str, asked: Asked) -> Answer:
        opening = Deliver(route.rule.namespace, route.rule.name, asked.method, rest, asked.content_type)
        async with await self._open_stream(node, opening) as stream:
            await stream.send_all(asked.body)
            await stream.send_eof()
            head = DELIVERED.decode(await stream.receive_frame(MAX_CONTROL))
            return Answer(head.code, head.content_type, await _to_end(stream))

    async def _servicebus(self, asked: Asked) -> Answer:
        try:
            told = servicebus.parse(asked.body)
        except ProtocolError as error:
            return _bus_answer(400, str(error))
        route = next((each for each in self._of(SERVICEBUS) if each.where == told.target_url), None)
        if route is None:
            return _bus_answer(404, f"no rule has this node and the target_url {told.target_url}")
        answer = await self._deliver(route, "", Asked(told.method, "", "application/json", told.payload))
        return _bus_answer(answer.code, "" if answer.code < 400 else "it was not taken", answer.body)

    def _heard(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """What the broker brings under the topics that rules want."""
        for topic, payload in messages:
            for route in self._of(EVENTBUS):
                if matches(route.where, topic):
                    try:
                        self._to_deliver.send_nowait((route, payload))
                    except trio.WouldBlock:
                        self._counts.failed(route.rule, f"{MAX_WAITING} messages wait to be delivered already")

    async def _work(self) -> None:
        async for route, payload in self._delivering.clone():
            await self._deliver(route, "", Asked("POST", "", "application/json", payload))

    # Where it goes

    async def _deliver(self, route: Route, rest: str, asked: Asked) -> Answer:
        """To the target, here. What came of it is counted."""
        try:
            answer = await self._to_target(route, rest, asked)
        except UnreachableError as error:
            answer = web.text(502, str(error))
        if answer.code < 400:
            self._counts.succeeded(route.rule)
        else:
            self._counts.failed(route.rule, f"{answer.code} {answer.body.decode(errors='replace')}")
        return answer

    async def _to_target(self, route: Route, rest: str, asked: Asked) -> Answer:
        target = route.target
        if isinstance(target, Publish):
            topic = beyond(target.topic, rest)
            if "+" in topic or "#" in topic or "\0" in topic:
                return web.text(400, f"{topic} is no topic to publish to")
            if not self._bus.is_connected:
                raise UnreachableError("the MQTT broker of this node is away")
            self._bus.say(topic, asked.body)
            return web.text(200, "message delivered")
        if isinstance(target, Service):
            path = beyond("/" + target.path.lstrip("/"), rest)
            return await web.ask(f"http://127.0.0.1:{target.port}{path}", asked.method, asked.content_type, asked.body)
        return await web.ask(target.url, "POST", asked.content_type or "application/json", asked.body)


async def _to_end(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes. ProtocolError when that is more than a message may have."""
    found = b""
    while data := await stream.receive_some(RECEIVE):
        found += data
        if len(found) > web.MAX_BODY:
            raise ProtocolError(f"a message of more than {web.MAX_BODY} bytes")
    return found


def _bus_answer(code: int, message: str, body: bytes = b"") -> Answer:
    return Answer(code, "application/json", servicebus.answer(code, message, body))
