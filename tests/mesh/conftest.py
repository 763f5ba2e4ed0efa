import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from dnslib import RR, DNSRecord
from trio.abc import HalfCloseableStream

from edged.errors import DeniedError
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.mesh.resolvers import receive_message
from edged.mesh.twins import INSTEAD
from edged.model.core import Container, ContainerPort, Pod, PodSpec, PodStatus, Service, ServicePort, ServiceSpec
from edged.model.meta import Condition, ObjectMeta
from edged.model.objects import Key, dump, key_of
from edged.store.store import Store, open_store
from edged.store.writes import Create, Put, Write
from edged.wire.codec import LENGTH
from edged.wire.peer import ANSWER, Refused, Tunnel

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DNS = "169.254.96.16"
CONTAINER = "10.77.0.2"
PODS = {"pod-a": "10.77.0.3", "pod-b": "10.77.0.4"}
UPSTREAM = f"127.53.{os.getpid() % 250}.1"  # nobody else is here, so a port that is free for UDP is free for TCP
ECHO = "127.0.0.2"
TIMEOUT_S = 60

Handler = Callable[[str, Tunnel, HalfCloseableStream], Awaitable[None]]
OpenStream = Callable[..., Awaitable[HalfCloseableStream]]


@pytest.fixture
def make_service() -> Callable[..., Service]:
    def make(
        name: str = "web",
        namespace: str = "default",
        ip: str = "9.251.1.2",
        ports: tuple[ServicePort, ...] = (ServicePort(80, target_port=8080),),
        selector: dict[str, str] | None = None,
        created: str | None = None,
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> Service:
        metadata = ObjectMeta(name=name, namespace=namespace, creation_timestamp=created, annotations=annotations or {})
        chosen = {"app": name} if selector is None else selector
        return Service("v1", "Service", metadata, ServiceSpec(selector=chosen, ports=ports, cluster_ip=ip, **spec))

    return make


@pytest.fixture
def make_pod() -> Callable[..., Pod]:
    def make(
        name: str = "web-0",
        node: str = "gw-a",
        ip: str = "172.17.0.2",
        namespace: str = "default",
        labels: dict[str, str] | None = None,
        ports: tuple[ContainerPort, ...] = (),
        ready: bool = True,
        deleted: str | None = None,
        **spec: Any,
    ) -> Pod:
        chosen = {"app": "web"} if labels is None else labels
        metadata = ObjectMeta(name=name, namespace=namespace, labels=chosen, deletion_timestamp=deleted)
        wish = PodSpec(containers=(Container("main", ports=ports),), node_name=node, **spec)
        status = PodStatus(phase="Running", pod_ip=ip, conditions=(Condition("Ready", str(ready)),))
        return Pod("v1", "Pod", metadata, wish, status)

    return make


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    clock = count(1)
    async with open_store(":memory:", origin="gw-a", stamp=lambda: next(clock), executor=Inline()) as opened:
        yield opened


def written(store: Store, thing: Service | Pod) -> Write:
    key: Key = key_of(thing)
    status = dump(thing.status) if isinstance(thing, Pod) else None
    body = dump(thing)
    return Put(key, body) if store.get(key) else Create(key, f"uid-{key.name}", body, status)


@pytest.fixture
def put(store: Store) -> Callable[..., Awaitable[None]]:
    async def put(*things: Service | Pod) -> None:
        await store.write(*(written(store, thing) for thing in things))

    return put


@pytest.fixture
def log() -> Log:
    return Log(level="debug", stream=io.StringIO())


@pytest.fixture
def said(log: Log) -> Callable[[], str]:
    return log._stream.getvalue


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for what no event tells: a counter of the thing under test."""

    async def until(condition: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not condition():  # noqa: ASYNC110  counters are plain numbers
                await trio.sleep(0.01)

    return until


@pytest.fixture
def link(nursery: trio.Nursery) -> Callable[..., OpenStream]:
    """`link(handler, peer)` is an `open_stream` whose other end is served by `handler`, as the hub's is."""

    def joined(handler: Handler, peer: str = "peer") -> OpenStream:
        async def open_stream(node: str, opening: Tunnel, head: bytes = b"") -> HalfCloseableStream:
            here, there = trio.testing.memory_stream_pair()
            nursery.start_soon(handler, peer, opening, there)
            await here.send_all(head)
            length = int.from_bytes(await exactly(here, LENGTH), "big")
            answer = ANSWER.decode(await exactly(here, length))
            if isinstance(answer, Refused):
                await here.aclose()
                raise DeniedError(answer.reason)
            return here

        return open_stream

    return joined


async def exactly(stream: HalfCloseableStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        assert more, "the stream ended early"
        data += more
    return data


@pytest.fixture
def receive_all() -> Callable[[HalfCloseableStream], Awaitable[bytes]]:
    async def receive(stream: HalfCloseableStream) -> bytes:
        data = b""
        while more := await stream.receive_some(65536):
            data += more
        return data

    return receive


@pytest.fixture
async def shout(nursery: trio.Nursery) -> int:
    """The port of a server on all addresses that answers only when its client has ended: half-close or no reply."""

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        with suppress(trio.BrokenResourceError):
            async with stream:
                while more := await stream.receive_some(65536):
                    data += more
                await stream.send_all(data.upper())

    (listener,) = await trio.open_tcp_listeners(0, host="0.0.0.0")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    return listener.socket.getsockname()[1]


@pytest.fixture
async def echo(nursery: trio.Nursery) -> int:
    """The UDP port on ECHO of a pod that sends back the port that it saw, a space, and what came; the largest as it came."""

    async def serve(sock: trio.socket.SocketType) -> None:
        with sock:
            while True:
                data, client = await sock.recvfrom(65535)
                await sock.sendto(data if len(data) > 60_000 else f"{client[1]} ".encode() + data, client)

    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await sock.bind((ECHO, 0))
    nursery.start_soon(serve, sock)
    return sock.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    """A port that is free on all addresses, and so are the next one and the one that is INSTEAD of it."""
    first = 20_000 + os.getpid() % 5_000  # below the kernel's own choices; two runs at a time begin apart
    for port in range(first, first + 2_000):
        try:
            with (
                socket.create_server(("", port)),
                socket.create_server(("", port + 1)),
                socket.create_server(("", port + INSTEAD)),
            ):
                return port
        except OSError:
            continue
    raise AssertionError("no free ports")


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port on 127.0.0.1 on which nobody listens, nor will: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def resolved(query: bytes, addresses: int = 1) -> bytes:
    reply = DNSRecord.parse(query).reply()
    for number in range(addresses):
        reply.add_answer(*RR.fromZone(f"{reply.q.qname} 60 A 192.0.2.{number}"))
    return bytes(reply.pack())


@pytest.fixture
def resolve() -> Callable[..., bytes]:
    """What a resolver answers: `addresses` A records, 192.0.2.0 first."""
    return resolved


class Upstream:
    """A resolver on real sockets, UDP and TCP: what it heard, and what it says to a question."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.answer: Callable[[bytes], list[bytes]] = lambda query: [resolved(query)]
        self.port = 0
        self._udp: trio.socket.SocketType | None = None
        self.client: Any = None
        self.streams = 0

    async def say(self, message: bytes) -> None:
        """Answer whoever asked last by UDP."""
        assert self._udp is not None
        await self._udp.sendto(message, self.client)

    @property
    def address(self) -> str:
        return f"{UPSTREAM}:{self.port}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            await udp.bind((UPSTREAM, 0))
            self._udp, self.port = udp, udp.getsockname()[1]
            (listener,) = await trio.open_tcp_listeners(self.port, host=UPSTREAM)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._stream, [listener])
                task_status.started()
                while True:
                    query, self.client = await udp.recvfrom(65535)
                    self.heard.append(query)
                    for message in self.answer(query):
                        await udp.sendto(message, self.client)

    async def _stream(self, stream: trio.SocketStream) -> None:
        self.streams += 1
        async with stream:
            query = await receive_message(stream)
            assert query is not None
            self.heard.append(query)
            for message in self.answer(query):
                await stream.send_all(len(message).to_bytes(2, "big") + message)


@pytest.fixture
async def start_upstream(nursery: trio.Nursery) -> Callable[[], Awaitable[Upstream]]:
    async def start() -> Upstream:
        made = Upstream()
        await nursery.start(made.run)
        return made

    return start


@pytest.fixture
async def upstream(start_upstream: Callable[[], Awaitable[Upstream]]) -> Upstream:
    return await start_upstream()


class Site:
    """A gateway and a container of it, each a namespace, and a mesh with root in the gateway."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def start(self) -> None:
        """Run the mesh until `stop`."""
        self.program = self.begin("gateway", "root_node.py")

    def begin(self, place: str, program: str, *argv: str) -> subprocess.Popen[str]:
        """A program of this folder, once it says that it is ready. It ends with its input."""
        begun = subprocess.Popen(
            self._within(place, sys.executable, str(HERE / program), *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert begun.stdout is not None
        if begun.stdout.readline() != "ready\n":
            begun.communicate(timeout=TIMEOUT_S)
            pytest.fail(f"{program} did not start; why is on stderr")
        return begun

    def stop(self) -> None:
        """End its input, which ends it."""
        self.program.communicate(timeout=TIMEOUT_S)
        assert self.program.returncode == 0

    def statistics(self, delete: str = "") -> dict[str, Any]:
        """What the mesh counts, after a pod was deleted."""
        return self.ask(delete)

    def ask(self, line: str) -> Any:
        """What the program answers to a line."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(f"{line}\n")
        self.program.stdin.flush()
        return json.loads(self.program.stdout.readline())

    @contextmanager
    def begun(self, place: str, program: str) -> Iterator[subprocess.Popen[str]]:
        """A program of Python text while it runs; it must end well."""
        argv = self._within(place, "timeout", str(TIMEOUT_S), sys.executable, "-c", program)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            yield process
        assert process.returncode == 0

    def run(self, place: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._within(place, *argv), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    def curl(self, place: str, url: str) -> subprocess.CompletedProcess[str]:
        return self.run(place, "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", url)

    def dig(self, place: str, *words: str) -> str:
        done = self.run(place, "dig", f"@{DNS}", "+time=5", "+tries=1", *words)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _within(self, place: str, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.names[place], *argv]


def ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True, timeout=TIMEOUT_S)


@pytest.fixture
def names() -> Iterator[dict[str, str]]:
    """A gateway, on its bridge a container and two pods, on its LAN a machine. Gateway and container ask the mesh for names."""
    made = {place: f"edged-mesh-{os.getpid()}-{place}" for place in ("gateway", "container", *PODS, "lan")}
    resolv_confs = {made[place]: Path("/etc/netns", made[place], "resolv.conf") for place in ("gateway", "container")}
    try:
        for name in made.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for resolv_conf in resolv_confs.values():
            resolv_conf.parent.mkdir(parents=True)
            resolv_conf.write_text(f"nameserver {DNS}\nsearch default.svc.cluster.local\n")
        gateway = made["gateway"]
        ip("-n", gateway, "link", "add", "bridge", "type", "bridge")
        ip("-n", gateway, "address", "add", "10.77.0.1/24", "dev", "bridge")
        ip("-n", gateway, "link", "set", "bridge", "up")
        for place, address in {"container": CONTAINER, **PODS}.items():
            cable(made, place, f"{address}/24", "10.77.0.1")
            ip("-n", gateway, "link", "set", place, "master", "bridge")
        cable(made, "lan", "192.0.2.9/24", "192.0.2.1")
        for address in ("10.88.0.5/32", "10.88.0.6/32"):
            ip("-n", gateway, "address", "add", address, "dev", "lo")
        ip("-n", gateway, "address", "add", "192.0.2.1/24", "dev", "lan")
        ip("-n", gateway, "route", "add", "203.0.113.0/24", "via", "192.0.2.9")
        subprocess.run(
            ["ip", "netns", "exec", gateway, "tee", "/proc/sys/net/ipv4/ip_forward"],
            input=b"1",
            check=True,
            capture_output=True,
        )
        yield made
    finally:
        for name in made.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        for resolv_conf in resolv_confs.values():
            resolv_conf.unlink(missing_ok=True)
            if resolv_conf.parent.exists():
                resolv_conf.parent.rmdir()


def cable(names: dict[str, str], place: str, address: str, gateway: str) -> None:
    """From the gateway's interface `place` to that namespace's `eth0`."""
    here, there = names["gateway"], names[place]
    ip("-n", here, "link", "add", place, "type", "veth", "peer", "name", "eth0", "netns", there)
    ip("-n", here, "link", "set", place, "up")
    ip("-n", there, "address", "add", address, "dev", "eth0")
    ip("-n", there, "link", "set", "eth0", "up")
    ip("-n", there, "route", "add", "default", "via", gateway)


@pytest.fixture
def idle_site(names: dict[str, str]) -> Site:
    """A site where nothing of ours runs yet."""
    return Site(names)


@pytest.fixture
def pods(idle_site: Site) -> Iterator[None]:
    """The pods on the bridge run."""
    begun = [idle_site.begin(place, "pod.py", place, address) for place, address in PODS.items()]
    yield
    for each in begun:
        each.communicate(timeout=TIMEOUT_S)


@pytest.fixture
def site(idle_site: Site) -> Iterator[Site]:
    """A site whose mesh runs."""
    idle_site.start()
    try:
        yield idle_site
    finally:
        if idle_site.program.poll() is None:
            idle_site.stop()
