import datetime
import io
import json
import os
import re
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import h11
import pytest
import trio

from edged.api.door import Api
from edged.api.kubeconfig import ClientAuthority, kubeconfig
from edged.api.metrics import Figure
from edged.api.who import ADMINS
from edged.errors import UnreachableError
from edged.identity.node import Identity
from edged.kit.address import Address
from edged.kit.executor import Worker
from edged.kit.log import Log
from edged.mesh.addresses import allocate, is_service_address
from edged.model import times
from edged.model.objects import Key, dump
from edged.store.store import Store, open_store
from edged.store.writes import Create
from edged.wire.peer import DeviceCall, DeviceHistory, Logs

KUBECTL_S = 60  # for one kubectl on a busy machine; none takes more than a second on an idle one
ANSWER_S = 20


class Kubectl:
    """Runs the real kubectl with a kubeconfig of the server. `said` is what the last one printed on standard error."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment, self.said = environment, ""
        self.program = os.environ.get("KUBECTL", "kubectl")
        asked = [self.program, "version", "--client", "-o", "json"]
        alone = {**environment, "KUBECONFIG": "/dev/null"}
        version = json.loads(subprocess.run(asked, capture_output=True, check=True, env=alone).stdout)
        self.minor = int(re.sub(r"\D", "", version["clientVersion"]["minor"]))

    async def __call__(self, *arguments: str, stdin: str = "", fails: bool = False, editor: str = "true") -> str:
        """What it printed: its standard output, or when it shall fail, its standard error."""
        with trio.fail_after(KUBECTL_S):
            done = await trio.run_process(
                [self.program, *arguments],
                stdin=stdin.encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={**self.environment, "KUBE_EDITOR": editor},
            )
        out, self.said = done.stdout.decode(), done.stderr.decode()
        assert (done.returncode != 0) == fails, f"kubectl {' '.join(arguments)}: {done.returncode}\n{out}\n{self.said}"
        return self.said if fails else out

    async def lines(self, count: int, *arguments: str) -> list[str]:
        """The first lines that it prints; then it is ended."""
        out = b""
        with trio.fail_after(KUBECTL_S):
            process = await trio.lowlevel.open_process([self.program, *arguments], stdout=subprocess.PIPE, env=self.environment)
            assert process.stdout is not None
            async with process.stdout:
                while out.count(b"\n") < count:
                    piece = await process.stdout.receive_some()
                    assert piece, f"kubectl {' '.join(arguments)} ended: {out.decode()}"
                    out += piece
                process.terminate()
                await process.wait()
        return out.decode().splitlines()[:count]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    warnings: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A plain HTTP client on a connected stream: one request after another."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def begin(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[h11.Response, list[str]]:
        """Send a request and read the head of its answer."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"host": "edged", "content-type": "application/json", **(headers or {})}
        if data:
            sent["content-length"] = str(len(data))
        out = self.http.send(h11.Request(method=method, target=target, headers=list(sent.items())))
        if data:
            out += self.http.send(h11.Data(data=data))
        await self.stream.send_all(out + self.http.send(h11.EndOfMessage()))
        while not isinstance(response := await self.event(), h11.Response):
            assert isinstance(response, h11.InformationalResponse)
        return response, [v.decode() for n, v in response.headers if n == b"warning"]

    async def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            data = bytes(await self.stream.receive_some(65536))
            if not data and self.http.their_state is h11.SEND_RESPONSE:
                raise ConnectionError("the server closed the connection instead of answering")
            self.http.receive_data(data)
        return event

    async def __call__(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        with trio.fail_after(ANSWER_S):
            response, warnings = await self.begin(method, target, body, headers)
            content = b""
            while isinstance(event := await self.event(), h11.Data):
                content += event.data
            if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
                self.http.start_next_cycle()
        fields = {n.decode(): v.decode() for n, v in response.headers}
        return Reply(response.status_code, fields, content, warnings)

    async def lines(self) -> AsyncIterator[Any]:
        """The JSON lines of an answer that has begun, as they come."""
        content = b""
        while isinstance(event := await self.event(), h11.Data):
            content += event.data
            *whole, content = content.split(b"\n")
            for line in whole:
                yield json.loads(line)
        self.http.start_next_cycle()


class Served:
    """A running API on a real store, and the ways to it."""

    def __init__(self, store: Store, identity: Identity, directory: Path) -> None:
        self.store, self.identity, self.directory = store, identity, directory
        self.state_dir, self.socket_path = directory / "gw-a", directory / "edged.sock"
        self.address = Address("", 0)
        self.logged = io.StringIO()
        self.asked: list[tuple[Logs, str]] = []
        self.called: list[tuple[DeviceCall | DeviceHistory, str]] = []
        self.printed: list[bytes] = [b"one\n", b"two\n"]
        self.follow_ends = trio.Event()
        self.left = trio.Event()
        self.unreachable = ""
        self.breaks = False

    def another(self, port: int, socket_path: Path) -> Api:
        return Api(
            self.store,
            self.identity,
            state_dir=self.state_dir,
            host="127.0.0.1",
            port=port,
            socket_path=socket_path,
            allocate=allocate,
            is_service_address=is_service_address,
            open_logs=self.open_logs,
            open_device=self.open_device,
            wall=time.time,
            new_uid=lambda: str(uuid.uuid4()),
            figures=self.figures,
            status=lambda: {"node": "gw-a"},
            netcheck=self.netcheck,
            ping=self.ping,
            log=Log(level="info", stream=self.logged),
        )

    async def netcheck(self) -> dict[str, Any]:
        return {"nat": "easy"}

    async def ping(self, node: str) -> dict[str, Any]:
        if self.unreachable:
            raise UnreachableError(self.unreachable)
        return {"node": node}

    async def open_device(self, opening: DeviceCall | DeviceHistory, node: str) -> Any:
        self.called.append((opening, node))
        if self.unreachable:
            raise UnreachableError(self.unreachable)
        return self._print(Logs("", "", ""))

    async def open_logs(self, opening: Logs, node: str) -> Any:
        self.asked.append((opening, node))
        if self.unreachable:
            raise UnreachableError(self.unreachable)
        return self._print(opening)

    async def _print(self, opening: Logs) -> AsyncIterator[bytes]:
        try:
            for piece in self.printed:
                yield piece
            if self.breaks:
                raise UnreachableError("the link broke")
            if opening.follow:
                await self.follow_ends.wait()
                yield b"last\n"
        finally:
            self.left.set()

    async def watched(self, count: int) -> None:
        """Wait until `count` watches wait for the next change."""
        await until(lambda: self.store._changed.statistics().tasks_waiting == count)

    def figures(self) -> list[Figure]:
        return [Figure("edged_links", "Links to other nodes.", 2)]

    def context(self, *groups: str, user: str = "ann", foreign: bool = False) -> ssl.SSLContext:
        """A client's TLS; with `groups` it shows a certificate, of a foreign authority if so wished."""
        context = ssl.create_default_context(cadata=self.identity.authority_pem.decode())
        if groups:
            state = self.directory / "foreign" if foreign else self.state_dir
            state.mkdir(exist_ok=True)
            key, certificate = ClientAuthority.open(state, times_now()).issue(user, groups, times_now())
            file = self.directory / "client.pem"
            file.write_bytes(key + certificate)
            context.load_cert_chain(file)
        return context

    async def dial_tls(self, context: ssl.SSLContext | None = None) -> Client:
        stream = await trio.open_tcp_stream(self.address.host, self.address.port)
        secure = trio.SSLStream(stream, context or self.context(ADMINS), server_hostname="gw-a", https_compatible=True)
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return Client(secure)

    async def dial(self) -> Client:
        return Client(await trio.open_unix_socket(self.socket_path))

    def kubeconfig(self) -> str:
        return kubeconfig(self.state_dir, f"https://{self.address}", "gw-a", self.identity.authority_pem, times_now())


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(KUBECTL_S):
        while not holds():  # noqa: ASYNC110  of what happens in another program there is no event
            await trio.sleep(0.02)


def times_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture
async def served(tmp_path: Path, fleet: Callable[..., Path]) -> AsyncIterator[Served]:
    identity = Identity.load(fleet("gw-a"))
    clock = count(1)
    async with open_store(tmp_path / "store.db", origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as store:
        served = Served(store, identity, tmp_path)
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "default", "uid": "n0", "creationTimestamp": times.format_time(time.time())},
        }
        await store.write(Create(Key("namespaces", "", "default"), "n0", dump(namespace), dump({"phase": "Active"})))
        async with trio.open_nursery() as nursery:
            served.address = await nursery.start(served.another(0, served.socket_path).run)
            yield served
            nursery.cancel_scope.cancel()
    assert '"level": "error"' not in served.logged.getvalue(), served.logged.getvalue()


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    client = await served.dial()
    async with aclosing(client):
        yield client


@pytest.fixture
def kubectl(served: Served, tmp_path: Path) -> Kubectl:
    config = tmp_path / "kubeconfig"
    config.write_text(served.kubeconfig())
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECACHEDIR": str(tmp_path / "cache")}
    return Kubectl({**environment, "KUBECONFIG": str(config)})
