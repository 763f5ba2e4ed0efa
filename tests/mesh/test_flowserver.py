import os
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio

from edged.kit.log import Log
from edged.mesh.flowserver import FlowServer
from edged.mesh.table import build
from edged.model.core import Pod, Service, ServicePort
from edged.wire.codec import Frames, framed
from edged.wire.peer import FLOWS, MAX_FLOWS_FRAME, Datagram, Ended, Flow, Flows, Said

Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def server(log: Log, make_service: Callable[..., Service], make_pod: Callable[..., Pod], echo: int) -> FlowServer:
    ports = (ServicePort(53, "dns", "UDP", echo),)
    services = [make_service(ports=ports), make_service("trap", ip="9.251.1.3", ports=ports)]
    pods = [make_pod(node="gw-b", ip="127.0.0.2"), make_pod("trap-0", "gw-b", "169.254.169.254", labels={"app": "trap"})]
    table = build(services, pods, "gw-b")
    return FlowServer(lambda: table, log)


class Peer:
    """A node that says whatever it likes."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.frames = stream, Frames(MAX_FLOWS_FRAME)

    async def say(self, *words: Said) -> None:
        await self.stream.send_all(b"".join(framed(FLOWS.encode(word)) for word in words))

    async def hear(self) -> Said:
        with trio.fail_after(60):
            while (frame := self.frames.next()) is None:
                self.frames.feed(await self.stream.receive_some(65536))
        return FLOWS.decode(frame)


@pytest.fixture
async def peer(server: FlowServer, link: Callable[..., Any]) -> Peer:
    return Peer(await link(server.serve)("gw-b", Flows(1)))


async def test_a_declared_flow_is_served(server: FlowServer, peer: Peer) -> None:
    await peer.say(Flow(7, "default", "web", 53, "web-0"), Datagram(7, b"hello"))
    answer = await peer.hear()
    assert isinstance(answer, Datagram)
    assert (answer.flow, answer.data.split()[1]) == (7, b"hello")
    await peer.say(Ended(7), Datagram(7, b"late"))
    assert await peer.hear() == Ended(7, "")
    assert await peer.hear() == Ended(7, "no such flow")


async def test_a_hostile_peer_reaches_nothing_else(server: FlowServer, peer: Peer) -> None:
    random = Random(1)
    names = ["default", "web", "trap", "kube-system", "127.0.0.1", "169.254.169.254", "", "/var/run/docker.sock"]
    asked = 0
    for number in range(200):
        namespace, service, pod = (random.choice(names) for _ in range(3))
        port = random.choice([0, 22, 53, 80, 2375, -1, 65536])
        await peer.say(Flow(number, namespace, service, port, pod), Datagram(number, b"x"))
        asked += 1
        assert isinstance(await peer.hear(), Ended)
        assert await peer.hear() == Ended(number, "no such flow")
    for pod in ("trap-0", "web-1"):
        await peer.say(Flow(1000, "default", "trap", 53, pod))
        asked += 1
        assert isinstance(await peer.hear(), Ended)
    assert (server.statistics.refused_undeclared, server.statistics.accepted) == (asked, 0)


async def test_nonsense_ends_the_stream_and_frees_its_flows(server: FlowServer, peer: Peer, until: Until) -> None:
    await peer.say(Flow(7, "default", "web", 53, "web-0"))
    await until(lambda: server.statistics.open == 1)
    await peer.stream.send_all(os.urandom(100) + b"\xff" * 100)
    await until(lambda: server.statistics.open == 0)


async def test_a_flow_that_is_named_twice_is_one(server: FlowServer, peer: Peer) -> None:
    asked = Flow(7, "default", "web", 53, "web-0")
    await peer.say(asked, asked, Datagram(7, b"x"))
    assert isinstance(await peer.hear(), Datagram)
    assert server.statistics.accepted == 1
