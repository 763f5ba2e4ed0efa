import datetime
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from edged.hub.hub import Handler, Hub
from edged.hub.stream import LinkStream
from edged.identity.authority import Authority
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address
from edged.kit.log import Log
from edged.kit.udp import UdpSocket
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, Opened, Opening, Tunnel
from relay.clients import Clients
from relay.core import Relay
from relay.server import Server, listen
from relay.udp import UdpPorts

WEB = Tunnel("default", "web", 80, "web-1")
DEADLINE_S = 60.0  # generous: a busy machine is slow, not wrong


class Fleet:
    """A fleet's authority and the identities it issued, made once each."""

    def __init__(self, directory: Path, name: str) -> None:
        self.now = datetime.datetime.now(datetime.UTC)
        self.authority = Authority.create(directory, name, self.now)
        self.verifier = Verifier(self.authority.certificate_pem)
        self._made: dict[tuple[str, str], Identity] = {}

    def identity(self, name: str, group: str = "site") -> Identity:
        if (name, group) not in self._made:
            self._made[name, group] = Identity(self.authority.issue(name, group, (), self.now))
        return self._made[name, group]


@pytest.fixture(scope="session")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet") / "acme", "acme")


@pytest.fixture(scope="session")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet") / "evil", "evil")


@pytest.fixture
def quiet() -> Log:
    return Log(level="error")


async def echo(_peer: str, _opening: Opening, stream: LinkStream) -> None:
    """Agree, then say back what is said, to the end."""
    await stream.send_all(framed(ANSWER.encode(Opened())))
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


@asynccontextmanager
async def running_hub(
    identity: Identity,
    verifier: Verifier,
    *,
    relays: Sequence[str] = (),
    peers: Mapping[str, Sequence[str]] | None = None,
    handlers: Mapping[type[Opening], Handler] | None = None,
    port: int = 0,
    log: Log | None = None,
    wants: frozenset[str] | None = None,
    state_dir: Path | None = None,
) -> AsyncIterator[tuple[Hub, Address]]:
    hub = Hub(
        identity=identity,
        verifier=verifier,
        relays=relays,
        listen=f"127.0.0.1:{port}",
        peers=peers or {},
        handlers={Tunnel: echo} if handlers is None else handlers,
        log=log or Log(level="error"),
        random=Random(1),
        wall=time.time,
        state_dir=state_dir,
    )
    hub.want(wants)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(hub.run)
        yield hub, address
        nursery.cancel_scope.cancel()


class RunningRelay:
    """A real relay on loopback. `stop` ends it as a kill would: its sockets close."""

    def __init__(self, verifier: Verifier, port: int) -> None:
        self._verifier, self._port = verifier, port
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self.url = ""
        self.relay = Relay(verifier)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        log = Log(level="error")
        udp = UdpPorts("127.0.0.1", questions=(0, 0), forwards=range(1), most=100, rate=1e9, log=log)
        relay = self.relay = Relay(self._verifier, forwarder=udp.forwarder)
        listeners = await listen(Address("127.0.0.1", self._port))
        self.url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        server = Server(relay, Clients(relay, random=Random(1), log=log), listeners, None, most=100, log=log)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(udp.run)
                await nursery.start(server.run)
                task_status.started()
        self._over.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._over.wait()


class Way:
    """Datagrams between whoever sends to `address` and `far`, as a router passes them on: those of at most `most` bytes."""

    def __init__(self, far: Address, most: int) -> None:
        self._far, self.most = far, most
        self._near, self._out = (UdpSocket(Address("127.0.0.1", 0)) for _ in range(2))
        self._caller: Address | None = None
        self.address = self._near.address

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, self._near, self._out)
                nursery.start_soon(self._pass, self._out, self._near)
        finally:
            self._near.close()
            self._out.close()

    async def _pass(self, comes: UdpSocket, leaves: UdpSocket) -> None:
        while True:
            await comes.readable()
            while (received := comes.receive()) is not None:
                data, segment, source = received
                if comes is self._near:
                    self._caller = source
                to = self._far if comes is self._near else self._caller
                pieces = [data[at : at + segment] for at in range(0, len(data), segment)]
                if to is not None:
                    leaves.send(to, [piece for piece in pieces if len(piece) <= self.most])


class Look:
    """What tests ask of running hubs."""

    @staticmethod
    async def linked(hub: Hub, *names: str) -> None:
        """Wait until these are the nodes to which there is a link."""
        with trio.fail_after(DEADLINE_S):
            known = hub.linked
            while known != frozenset(names):
                known = await hub.links_changed(known)

    @staticmethod
    async def says(hub: Hub, node: str, text: bytes = b"hello") -> None:
        """A stream to `node` brings back what is said."""
        with trio.fail_after(DEADLINE_S):
            async with await hub.open_stream(node, WEB) as stream, trio.open_nursery() as nursery:

                async def tell() -> None:
                    await stream.send_all(text)
                    await stream.send_eof()

                nursery.start_soon(tell)  # what comes back is read meanwhile: more than the windows hold would stop both
                assert b"".join([data async for data in stream]) == text

    @staticmethod
    def path(hub: Hub) -> str:
        """The path of its one link."""
        (link,) = hub.statistics().links
        return link.path

    @staticmethod
    def inner(hub: Hub) -> Any:
        """What the hub keeps to itself."""
        return hub._linker

    @staticmethod
    def cut(hub: Hub) -> Callable[[], None]:
        """Its UDP socket sends nothing, until the returned function is called."""
        udp: Any = Look.inner(hub)._udp
        whole, udp.send = udp.send, lambda _address, _datagrams: None

        def mend() -> None:
            udp.send = whole

        return mend


@pytest.fixture
def start_way(nursery: trio.Nursery) -> Callable[[Address, int], Way]:
    def starting(far: Address, most: int) -> Way:
        way = Way(far, most)
        nursery.start_soon(way.run)
        return way

    return starting


@pytest.fixture
def look() -> type[Look]:
    return Look


StartHub = Callable[..., AbstractAsyncContextManager[tuple[Hub, Address]]]
StartRelay = Callable[..., Awaitable[RunningRelay]]


@pytest.fixture
def start_hub() -> StartHub:
    return running_hub


@pytest.fixture
def start_relay(nursery: trio.Nursery) -> StartRelay:
    async def starting(verifier: Verifier, port: int = 0) -> RunningRelay:
        relay = RunningRelay(verifier, port)
        await nursery.start(relay.run)
        return relay

    return starting


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], object]:
    """Waits, within DEADLINE_S, for something that has no event of its own."""

    async def waiting(condition: Callable[[], bool]) -> None:
        with trio.fail_after(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  that is what it is for
                await trio.sleep(0.01)

    return waiting
