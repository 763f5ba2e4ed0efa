"""Real receivers: a web server on trio and h11, and Debian's mosquitto, Redis and MariaDB, each started once."""

import datetime
import io
import ipaddress
import os
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h11
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edged.device.history.journal import Journal
from edged.device.history.ring import Limits
from edged.device.push.parcels import Parcel, Route
from edged.device.readings import Reading
from edged.kit.executor import Worker
from edged.kit.log import Log

PATIENCE_S = 30.0


def parcel(id_: int, *values: str, route: Route = Route("/in"), device: str = "meter") -> Parcel:  # noqa: B008  frozen
    readings = tuple(Reading("power", "float", value, 1_700_000_000_000 + id_) for value in values or (f"{id_}.5",))
    return Parcel(id_, "default", device, route, readings)


class Posted(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A web server. `answers` says what to answer: a status, or a status and a body."""

    def __init__(self, port: int, answers: Callable[[Posted], Any]) -> None:
        self.port, self.answers = port, answers
        self.posted: list[Posted] = []
        self.connections = 0
        self.close_after_each = False

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            async with stream:
                while await self._one(stream, h11.Connection(h11.SERVER)) and not self.close_after_each:
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass

    async def _one(self, stream: trio.abc.Stream, http: h11.Connection) -> bool:
        request, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert request is not None
        headers = {name.decode(): value.decode() for name, value in request.headers}
        posted = Posted(request.target.decode(), headers, body)
        answer = self.answers(posted)
        if answer is None:
            await trio.sleep_forever()
        self.posted.append(posted)
        status, text = answer if isinstance(answer, tuple) else (answer, b"")
        head = [("Content-Length", str(len(text)))]
        data = [http.send(each) or b"" for each in (h11.Response(status_code=status, headers=head), h11.Data(data=text))]
        await stream.send_all(b"".join([*data, http.send(h11.EndOfMessage()) or b""]))
        return True


class Certificate(NamedTuple):
    pem: str
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(private + pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return Certificate(pem.decode(), context)


@pytest.fixture
def receivers() -> Callable[..., Any]:
    """`async with receivers(answers) as receiver`: a web server on loopback."""

    @asynccontextmanager
    async def serve(
        answers: Callable[[Posted], Any] = lambda posted: 200, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator[Receiver]:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
            receiver = Receiver(listener.socket.getsockname()[1], answers)
            served = listener if tls is None else trio.SSLListener(listener, tls)
            nursery.start_soon(trio.serve_listeners, receiver.serve, [served])
            yield receiver
            nursery.cancel_scope.cancel()

    return serve


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async def tell(reason: str, message: str) -> None:
        raise AssertionError(f"{reason}: {message}")

    log = Log(stream=io.StringIO())
    made = Journal(tmp_path / "readings.db", Limits(1 << 24, 86400.0), "drop-oldest", time.time, log, tell, Worker(), Worker())
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A program that listens on a port of its own, as often as it is started."""

    def __init__(self, argv: Callable[[int], list[str]]) -> None:
        self.port = free_port()
        self._argv = argv(self.port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_S
        while not listens(self.port):
            assert self.process.poll() is None, self._argv
            assert time.monotonic() < deadline, self._argv
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """A mosquitto that keeps what it has for persistent sessions. Mark the test `tool("mosquitto")`."""
    config = tmp_path / "mosquitto.conf"

    def argv(port: int) -> list[str]:
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nuser root\n"
        )
        return ["mosquitto", "-c", str(config)]

    server = Server(argv)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis that keeps nothing; its password is "sesame". Mark the test `tool("redis-server")`."""
    directory = str(tmp_path_factory.mktemp("redis"))

    def argv(port: int) -> list[str]:
        settings = {
            "port": port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "requirepass": "sesame",
            "dir": directory,
        }
        return ["redis-server", *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]

    server = Server(argv)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MariaDB (four seconds to be made) with a database `plant` for root, whose password is "sesame".

    Mark the test `tool("mariadbd")`.
    """
    directory = tmp_path_factory.mktemp("mariadb")
    data, begin = directory / "data", directory / "begin.sql"
    begin.write_text("CREATE DATABASE plant;\nSET PASSWORD FOR root@localhost = PASSWORD('sesame');\n")
    made = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={data}",
        "--auth-root-authentication-method=normal",
        "--user=root",
    ]
    subprocess.run(made, check=True, capture_output=True, timeout=120)

    def argv(port: int) -> list[str]:
        settings = ["--user=root", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1"]
        return ["mariadbd", "--no-defaults", *settings, f"--socket={directory}/s", f"--init-file={begin}", "--skip-log-bin"]

    server = Server(argv)
    server.start()
    yield server
    server.stop()
