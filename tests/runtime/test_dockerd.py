import gc
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import NotFoundError, UnreachableError
from edged.runtime.docker import DockerDriver
from edged.runtime.dockerd import SOCKET, Dockerd, LogFrames


@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_log_frames_however_they_are_cut(texts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(bytes([1, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for text in texts)
    frames, got = LogFrames(), b""
    while data:
        for cut in cuts:
            got += frames.feed(data[:cut])
            data = data[cut:]
    assert got == b"".join(texts)


class Door:
    """A way to dockerd that can be shut: a Unix socket that leads to the real one."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._scope = trio.CancelScope()

    async def open(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        Path(self.path).unlink(missing_ok=True)  # noqa: ASYNC240
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        with trio.CancelScope() as self._scope:
            await listener.bind(self.path)
            listener.listen()
            await trio.serve_listeners(self._pass, [trio.SocketListener(listener)], task_status=task_status)

    def shut(self) -> None:
        self._scope.cancel()

    async def _pass(self, near: trio.SocketStream) -> None:
        async with near, await trio.open_unix_socket(SOCKET) as far, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, near, far)
            await self._copy(far, near)
            nursery.cancel_scope.cancel()

    @staticmethod
    async def _copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            async for data in source:
                await target.send_all(data)
        except trio.BrokenResourceError:
            return


@pytest.mark.docker
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the SDK drops a socket that cannot connect without closing it
async def test_dockerd_goes_away_and_returns(tmp_path: Path, docker_kit: Any) -> None:
    door = Door(tmp_path / "docker.sock")
    driver = DockerDriver(docker_kit.node, socket=door.path)
    docker_kit.made.append(driver)
    told, changes = trio.open_memory_channel[str | None](100)
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                await nursery.start(door.open)
                ended = trio.Event()
                nursery.start_soon(watch, driver, told, ended)
                assert await changes.receive() is None
                assert await driver.containers() == []
                door.shut()
                with pytest.raises(UnreachableError):
                    while True:
                        await driver.containers()
                await ended.wait()
            nursery.cancel_scope.cancel()
    gc.collect()


async def watch(driver: DockerDriver, told: Any, ended: trio.Event) -> None:
    with pytest.raises(UnreachableError):
        await driver.watch(told.send_nowait)
    ended.set()


@pytest.fixture
async def dockerd() -> AsyncIterator[Dockerd]:
    made = Dockerd(SOCKET)
    yield made
    made.close()


@pytest.mark.docker
async def test_the_errors_of_a_stream(dockerd: Dockerd) -> None:
    async with aclosing(dockerd.stream("/containers/none/logs", {"stdout": "1"})) as pieces:
        with pytest.raises(NotFoundError, match="docker: No such container: none"):
            await anext(pieces)
    async with aclosing(dockerd.stream("/events", {"since": "x"})) as pieces:
        with pytest.raises(UnreachableError):
            await anext(pieces)


async def test_a_dockerd_that_speaks_nonsense(tmp_path: Path) -> None:
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(tmp_path / "docker.sock"))
    listener.listen()

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"nonsense\r\n\r\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, [trio.SocketListener(listener)])
        async with aclosing(Dockerd(str(tmp_path / "docker.sock")).stream("/events", {})) as pieces:
            with pytest.raises(UnreachableError):
                await anext(pieces)
        nursery.cancel_scope.cancel()


def test_a_node_without_docker_does_not_load_the_sdk() -> None:
    program = "import sys, edged.runtime.choose, edged.runtime.worker, edged.runtime.logs; print('docker' in sys.modules)"
    assert run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
