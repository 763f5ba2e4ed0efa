import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import trio
import trio_websocket

from edged.identity.authority import Authority
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address
from edged.kit.log import Log
from edged.wire import relay as wire
from edged.wire.codec import VERSION
from relay.clients import Clients
from relay.core import Relay
from relay.server import Server, listen
from relay.udp import UdpPorts

DEADLINE_S = 30.0  # generous: a busy machine is slow, not wrong


class Fleet:
    """A fleet's authority and the identities it issues, made once each."""

    def __init__(self, directory: Path, name: str) -> None:
        self.now = datetime.datetime.now(datetime.UTC)
        self.authority = Authority.create(directory / name, name, self.now)
        self.verifier = Verifier(self.authority.certificate_pem)
        self._made: dict[tuple[str, str], Identity] = {}

    def identity(self, name: str, group: str = "site") -> Identity:
        if (name, group) not in self._made:
            self._made[name, group] = Identity(self.authority.issue(name, group, (), self.now))
        return self._made[name, group]

    def prove(self, name: str, nonce: bytes, group: str = "site", audience: str = "127.0.0.1") -> wire.Prove:
        identity = self.identity(name, group)
        signature = identity.sign(wire.proof_input(nonce, audience))
        return wire.Prove(VERSION, identity.certificate_der, audience, signature)


class Peer:
    """A node's side of the relay protocol, message by message."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.websocket = websocket
        self.welcome = wire.Welcome(VERSION, "", "")
        self._waiting: list[wire.FromRelay] = []

    async def send(self, *messages: wire.FromNode) -> None:
        await self.websocket.send_message(wire.FROM_NODE.encode(list(messages)))

    async def next(self) -> wire.FromRelay:
        with trio.fail_after(DEADLINE_S):
            while not self._waiting:
                frame = await self.websocket.get_message()
                assert isinstance(frame, bytes)
                self._waiting = wire.FROM_RELAY.decode(frame)
        return self._waiting.pop(0)

    async def until(self, kind: type[Any]) -> Any:
        while True:
            message = await self.next()
            if isinstance(message, kind):
                return message

    async def closed(self) -> trio_websocket.CloseReason | None:
        with trio.fail_after(DEADLINE_S):
            try:
                while True:
                    await self.websocket.get_message()
            except trio_websocket.ConnectionClosed as error:
                return error.reason


class Running(NamedTuple):
    """A relay that serves on loopback."""

    relay: Relay
    port: int
    tls: ssl.SSLContext | None
    fleet: Fleet

    @asynccontextmanager
    async def dial(
        self, headers: list[tuple[bytes, bytes]] | None = None, protocol: str = wire.SUBPROTOCOL
    ) -> AsyncIterator[Peer]:
        """A WebSocket over a stream of our own: trio-websocket leaves the socket open when the other side closes first."""
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_hostname="127.0.0.1", https_compatible=True)
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(DEADLINE_S):
                    websocket = await trio_websocket.wrap_client_stream(
                        nursery, stream, "127.0.0.1", "/", subprotocols=[protocol], extra_headers=headers
                    )
                yield Peer(websocket)
                with trio.move_on_after(1):  # a test may have parked the reader that this waits for
                    await websocket.aclose()
            finally:
                await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def node(self, name: str, group: str = "site") -> AsyncIterator[Peer]:
        async with self.dial() as peer:
            challenge = await peer.until(wire.Challenge)
            await peer.send(self.fleet.prove(name, challenge.nonce, group))
            peer.welcome = await peer.until(wire.Welcome)
            assert peer.welcome.node == name
            yield peer

    async def until(self, condition: Callable[[Relay], bool]) -> None:
        with trio.fail_after(DEADLINE_S):
            while not condition(self.relay):  # noqa: ASYNC110  the relay tells nobody when it counts
                await trio.sleep(0.01)


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"), "acme")


@pytest.fixture(scope="session")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("other"), "evil")


@pytest.fixture
def serve(acme: Fleet) -> Serve:
    @asynccontextmanager
    async def serving(
        *,
        names: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
        most: int = 100,
        behind_proxy: bool = False,
        keep_alive_s: float = 60.0,
        rate: float = 1e9,
    ) -> AsyncIterator[Running]:
        log = Log(level="error")
        udp = UdpPorts("127.0.0.1", questions=(0, 0), forwards=range(1), most=100, rate=rate, log=log)
        relay = Relay(acme.verifier, names, udp.forwarder)
        listeners = await listen(Address("127.0.0.1", 0))
        port = listeners[0].socket.getsockname()[1]
        clients = Clients(relay, keep_alive_s=keep_alive_s, random=Random(1), log=log)
        server = Server(relay, clients, listeners, tls, most=most, behind_proxy=behind_proxy, log=log)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            nursery.start_soon(udp.run)
            nursery.start_soon(clients.take_back)
            yield Running(relay, port, client_tls, acme)
            nursery.cancel_scope.cancel()

    return serving
