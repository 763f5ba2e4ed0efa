import functools
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from edged.device.bus.bus import Bus
from edged.device.bus.client import Broker, connected
from edged.device.rules import counts, router, web
from edged.device.rules.router import Rules
from edged.device.rules.web import Answer, Asked
from edged.errors import DeniedError, UnreachableError
from edged.kit.address import Address
from edged.kit.broker import BrokerSettings
from edged.kit.log import Log
from edged.model.kinds import BY_STRUCT
from edged.model.objects import Key, dump, typed
from edged.model.routing import Rule, RuleEndpoint, RuleStatus
from edged.store.writes import Create, Delete
from edged.wire.codec import LENGTH
from edged.wire.peer import ANSWER, Deliver, Refused
from tests.device.broker import Mosquitto, in_time

pytestmark = pytest.mark.tool("mosquitto")
HEAD = {"apiVersion": "rules.kubeedge.io/v1"}
ENDS: dict[str, Any] = {"web": {"ruleEndpointType": "rest"}, "mqtt": {"ruleEndpointType": "eventbus"}}


class Frames:
    """A stream of a link, but for the link."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self._stream = stream
        self.send_all, self.send_eof, self.receive_some = stream.send_all, stream.send_eof, stream.receive_some

    async def __aenter__(self) -> "Frames":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()

    async def receive_frame(self, most: int) -> bytes:
        size = int.from_bytes(await self.exactly(LENGTH), "big")
        assert size <= most
        return await self.exactly(size)

    async def exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = await self.receive_some(size - len(found))
            if not more:
                raise trio.BrokenResourceError
            found += more
        return found


class Site:
    """Two nodes that have the same rules: gw-a with a broker, gw-b with none."""

    def __init__(self, fleet: Any, broker: Mosquitto, nursery: trio.Nursery) -> None:
        self.store, self._nursery, self.broker = fleet.store, nursery, broker
        self.log = fleet.log
        self.asked: list[Asked] = []
        self.answer = Answer(200, "text/x", b"thank you")
        self.ports: dict[str, int] = {}
        settings = BrokerSettings(f"tcp://127.0.0.1:{broker.port}")
        self.bus = Bus(settings, fleet.store, fleet.devices("gw-a"), "gw-a", time.time, random.Random(1), Log(stream=fleet.log))
        away = Bus(
            BrokerSettings(""), fleet.store, fleet.devices("gw-b"), "gw-b", time.time, random.Random(1), Log(stream=fleet.log)
        )
        self.nodes = {"gw-a": self._rules("gw-a", self.bus), "gw-b": self._rules("gw-b", away)}

    def _rules(self, node: str, bus: Bus) -> Rules:
        door = f"127.0.0.{1 if node == 'gw-a' else 2}"
        return Rules(
            self.store,
            bus,
            node,
            f"{door}:{PORTS[0]}",
            f"{door}:{PORTS[1]}",
            self.open_stream,
            random.Random(2),
            Log(stream=self.log),
        )

    async def open_stream(self, node: str, opening: Any) -> Any:
        if node not in self.nodes:
            raise UnreachableError(f"there is no node {node}")
        here, there = trio.testing.memory_stream_pair()
        stream = Frames(here)
        self._nursery.start_soon(self.nodes[node].serve, "gw-b", opening, there)
        answer = ANSWER.decode(await stream.receive_frame(1 << 14))
        if isinstance(answer, Refused):
            raise DeniedError(answer.reason)
        return stream

    async def heard(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.answer

    async def rule(
        self, name: str, source: str, source_resource: dict[str, str], target: str, target_resource: dict[str, str]
    ) -> None:
        spec = {"source": source, "sourceResource": source_resource, "target": target, "targetResource": target_resource}
        await self.put(Rule, name, spec)

    async def put(self, kind: Any, name: str, spec: Any) -> None:
        value = {**HEAD, "kind": kind.__name__, "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        await self.store.write(Create(Key(BY_STRUCT[kind].resource, "default", name), f"uid-{name}", dump(value)))

    def status(self, name: str) -> RuleStatus:
        stored = self.store.get(Key(BY_STRUCT[Rule].resource, "default", name))
        return typed(stored, Rule).status

    async def until(self, what: Callable[[], bool]) -> None:
        while not what():
            await self.store.changed(self.store.revision)

    async def call(self, path: str, body: bytes = b"", *, node: str = "gw-a", method: str = "POST") -> Answer:
        """At a node's door, once it is open."""
        host = "127.0.0.1" if node == "gw-a" else "127.0.0.2"
        while True:
            try:
                return await web.ask(f"http://{host}:{PORTS[0]}{path}", method, "text/x", body)
            except UnreachableError:
                await trio.sleep(0.01)

    async def program(self, **asked: Any) -> dict[str, Any]:
        while True:
            try:
                found = await web.ask(f"http://127.0.0.1:{PORTS[1]}/", "POST", "application/json", json.dumps(asked).encode())
            except UnreachableError:
                await trio.sleep(0.01)
            else:
                value: dict[str, Any] = json.loads(found.body)
                return value


PORTS: list[int] = []


@pytest.fixture
def site(fleet_of_devices: Any, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, free_ports: Any) -> Any:
    monkeypatch.setattr(counts, "COUNT_S", 0.01)
    PORTS[:] = free_ports(2)

    @asynccontextmanager
    async def made() -> AsyncIterator[Site]:
        async with trio.open_nursery() as nursery:
            site = Site(fleet_of_devices, mosquitto, nursery)
            for kind, spec in ENDS.items():
                await site.put(RuleEndpoint, kind, spec)
            port = await nursery.start(functools.partial(web.serve, Address("127.0.0.1", 0), site.heard))
            site.ports["service"] = port
            await site.put(RuleEndpoint, "local", {"ruleEndpointType": "servicebus", "properties": {"service_port": str(port)}})
            for rules in site.nodes.values():
                await nursery.start(rules.run)
            await nursery.start(site.bus.run)
            yield site
            nursery.cancel_scope.cancel()

    return made


@in_time
async def test_rest_to_eventbus_from_any_node(site: Any, mosquitto: Mosquitto) -> None:
    async with site() as here, connected(Broker(Address("127.0.0.1", mosquitto.port)), "app") as app:
        await app.subscribe(["down/#"])
        await here.rule("down", "web", {"path": "/send"}, "mqtt", {"topic": "down"})
        found = await here.call("/gw-a/default/send/lamp", b"on")
        while found.code == 502:  # until the broker has taken the node in
            found = await here.call("/gw-a/default/send/lamp", b"on")
        assert found == Answer(200, web.TEXT, b"message delivered")
        assert (await here.call("/gw-a/default/send", b"off", node="gw-b")).code == 200
        heard: list[Any] = []
        while len(heard) < 2:
            heard += await app.receive()
        assert [(each.topic, each.payload) for each in heard] == [("down/lamp", b"on"), ("down", b"off")]
        await here.until(lambda: here.status("down").success_messages == 2)
        here_away = await here.call("/gw-b/default/send", b"x")
        assert (here_away.code, here_away.body) == (502, b"the MQTT broker of this node is away")
        await here.until(lambda: "502 the MQTT broker of this node is away" in here.status("down").errors)


@in_time
async def test_rest_to_servicebus_from_any_node(site: Any) -> None:
    async with site() as here:
        await here.rule("call", "web", {"path": "/call"}, "local", {"path": "/api"})
        for node in ("gw-a", "gw-b"):
            assert await here.call("/gw-a/default/call/a/b", b"hello", node=node, method="PUT") == here.answer
            assert here.asked.pop() == Asked("PUT", "/api/a/b", "text/x", b"hello")
        here.answer = Answer(500, "", b"broken")
        assert (await here.call("/gw-a/default/call")).code == 500
        await here.until(lambda: here.status("call") == RuleStatus(2, 1, ("500 broken",)))


@in_time
async def test_eventbus_to_rest(site: Any, mosquitto: Mosquitto) -> None:
    async with site() as here, connected(Broker(Address("127.0.0.1", mosquitto.port)), "app") as app:
        url = f"http://127.0.0.1:{here.ports['service']}/in"
        await here.rule("up", "mqtt", {"topic": "up/+/x", "node_name": "gw-a"}, "web", {"resource": url})
        while not here.asked:  # until the node has subscribed
            await app.publish("up/lamp/x", b"news")
            await trio.sleep(0.01)
        assert here.asked[0] == Asked("POST", "/in", "application/json", b"news")
        await here.until(lambda: here.status("up").success_messages >= 1)


@in_time
async def test_servicebus_to_rest(site: Any) -> None:
    async with site() as here:
        url = f"http://127.0.0.1:{here.ports['service']}/in"
        await here.rule("up", "local", {"target_url": "/report", "node_name": "gw-a"}, "web", {"resource": url})
        answer = await here.program(method="POST", targetURL="/report", payload={"a": 1})
        assert answer == {"code": 200, "msg": "", "body": "thank you"}
        assert here.asked[0].body == b'{"a":1}'
        assert (await here.program(method="POST", targetURL="/other", payload=""))["code"] == 404
        assert (await here.program(nothing=1))["code"] == 400


@in_time
async def test_what_no_rule_says_is_not_done(site: Any) -> None:
    async with site() as here:
        await here.rule("call", "web", {"path": "/call"}, "local", {"path": "/api"})
        for path in ("/gw-a/default/other", "/gw-a/other/call", "/", "/gw-a/default/call/../x"):
            assert (await here.call(path)).code == 404
        lost = await here.call("/gw-z/default/call")
        assert (lost.code, lost.body) == (502, b"there is no node gw-z")
        opening = Deliver("default", "nothing", "POST", "", "")
        with pytest.raises(DeniedError, match="there is no rule default/nothing"):
            await here.open_stream("gw-a", opening)
        assert here.asked == []


@in_time
async def test_a_rule_that_cannot_be_followed_says_why_and_a_door_closes_with_the_last(site: Any) -> None:
    async with site() as here:
        await here.rule("bad", "nobody", {}, "mqtt", {"topic": "t"})
        await here.until(lambda: here.status("bad").errors == ('spec.source: there is no RuleEndpoint "default/nobody"',))
        await here.rule("call", "web", {"path": "/call"}, "local", {"path": "/api"})
        assert (await here.call("/gw-a/default/call")).code == 200
        await here.store.write(Delete(Key(BY_STRUCT[Rule].resource, "default", "call")))
        with pytest.raises(UnreachableError):
            while True:
                await web.ask(f"http://127.0.0.1:{PORTS[0]}/gw-a/default/call", "POST", "", b"")


@in_time
async def test_more_messages_than_may_wait_are_counted(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        url = f"http://127.0.0.1:{here.ports['service']}/in"
        await here.rule("up", "mqtt", {"topic": "up", "node_name": "gw-a"}, "web", {"resource": url})
        while "up" not in (wanted := here.bus.wanted)[0]:
            await wanted[1].wait()
        here.bus.on_other([("up", b"x")] * (router.MAX_WAITING + 50))
        await here.until(
            lambda: here.status("up").success_messages + here.status("up").fail_messages == router.MAX_WAITING + 50
        )
        assert here.status("up").fail_messages > 0
        assert here.status("up").errors == (f"{router.MAX_WAITING} messages wait to be delivered already",)
