import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from edged.device.mapper import Mappers, Sample
from edged.errors import ProtocolError, UnreachableError
from edged.model.values import to_text

PROGRAM = Path(__file__).with_name("opcua_server.py")
PATIENCE_S = 30.0


class Server:
    """The real server, in a process of its own."""

    def __init__(self, state: Path, port: int, secure: bool) -> None:
        argv = [sys.executable, str(PROGRAM), str(port), "secure" if secure else "open", str(state)]
        log = (state / "server.log").open("w")
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        word, number = self._line()
        assert word == "port"
        self.port = int(number)
        self.url = f"opc.tcp://127.0.0.1:{self.port}/"

    def _line(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split(maxsplit=1)

    def tell(self, line: str) -> None:
        self._begin(line)
        assert self._line() == ["done"]

    def _begin(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def value(self, name: str) -> str:
        self._begin(f"get {name}")
        _, value = self._line()
        assert self._line() == ["done"]
        return value.strip()

    def hang(self) -> None:
        """Nothing at all is answered, until `go_on`."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def opcua_servers(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(port: int = 0, *, secure: bool = False) -> Server:
        running.append(Server(tmp_path, port, secure))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(scope="session")
def opcua_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that all share who do not break it."""
    server = Server(tmp_path_factory.mktemp("opcua"), 0, secure=False)
    yield server
    server.stop()


@pytest.fixture
def node(opcua: Any) -> Callable[[str, str], Any]:
    """The place of a variable of the server, as a model type."""
    return lambda type_, name: opcua.point(type_, {"nodeID": f"ns=2;s={name}"})


class Ear:
    """Listens to a session in a task of its own."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.error = ""
        self._news = trio.Event()

    def heard(self, found: Any) -> None:
        self.found += [what for _, what in found]
        self._news.set()

    async def listen(self, session: Any, wants: Any, *, task_status: trio.TaskStatus[Any]) -> None:
        try:
            await session.listen(wants, self.heard, task_status=task_status)
        except (UnreachableError, ProtocolError) as error:
            self.error = str(error)
            self._news.set()

    async def until(self, what: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not what():
                self._news = trio.Event()
                await self._news.wait()

    def values(self) -> list[str]:
        return [
            to_text(each.value) + " after a gap" * each.gap if isinstance(each, Sample) else str(each) for each in self.found
        ]


@pytest.fixture
def ear() -> type[Ear]:
    return Ear


@pytest.fixture
async def opcua(tmp_path: Path) -> AsyncIterator[Any]:
    """The mapper, with a loop of its own."""
    mappers = Mappers(tmp_path)
    yield mappers.find("opcua")
    await mappers.aclose()
