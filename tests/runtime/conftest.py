import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest
import trio

from edged.kit.executor import Worker
from edged.runtime.docker import DockerDriver
from edged.runtime.driver import ContainerSpec, Driver, Identity, LogOptions, Observed
from edged.runtime.process import ProcessDriver
from edged.store.store import Store, open_store

DEADLINE_S = 60.0  # for what takes milliseconds on a machine that has time
POLL_S = 0.02


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Path]:
    """The directory of process drivers; what still runs out of it at the end is killed."""
    directory = tmp_path / "processes"
    yield directory
    for path in directory.glob("*/run.json"):
        run = msgspec.json.decode(path.read_bytes())
        if not (path.parent / "exit.json").exists():
            for pid in (run["pid"], run["shim_pid"]):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


class Kit:
    """One kind of driver: `driver(node)` makes a new one over the same runtime, `spec(command)` what it can run."""

    def __init__(self, name: str, make: Callable[[str], Driver], image: str, node: str) -> None:
        self.name, self._make, self.image, self.node = name, make, image, node
        self.made: list[Driver] = []

    def driver(self, node: str | None = None) -> Driver:
        driver = self._make(node or self.node)
        self.made.append(driver)
        return driver

    def spec(self, script: str, *, uid: str = "", attempt: int = 0, **fields: object) -> ContainerSpec:
        identity = Identity(self.node, "default", "web", uid or str(uuid.uuid4()), "c", attempt, 1, "abc", 5)
        made = ContainerSpec(identity, self.image, ("/bin/sh", "-c", script))
        return msgspec.structs.replace(made, **fields)

    async def run(self, driver: Driver, spec: ContainerSpec) -> Observed:
        made = await driver.create(spec)
        await driver.start(made)
        return await self.seen(driver, made)

    async def seen(self, driver: Driver, container: str) -> Observed:
        return next(one for one in await driver.containers() if one.id == container)

    async def ended(self, driver: Driver, container: str) -> Observed:
        with trio.fail_after(DEADLINE_S):
            while (one := await self.seen(driver, container)).state != "exited":  # noqa: ASYNC110 - the contract under test
                await trio.sleep(POLL_S)
        return one

    async def text(self, driver: Driver, container: str, options: LogOptions | None = None) -> str:
        async with contextlib.aclosing(driver.logs(container, options or LogOptions())) as chunks:
            return b"".join([chunk async for chunk in chunks]).decode()


@pytest.fixture
def process_kit(processes: Path) -> Kit:
    return Kit("process", lambda node: ProcessDriver(processes, node), "host", "gw-a")


@pytest.fixture
def docker_kit(busybox_image: str) -> Iterator[Kit]:
    import docker  # noqa: PLC0415 - heavy

    kit = Kit("docker", DockerDriver, busybox_image, f"test-{uuid.uuid4().hex[:8]}")
    yield kit
    for driver in kit.made:
        driver.close()
    client = docker.from_env()
    for container in client.containers.list(all=True, filters={"label": f"edged.io/node={kit.node}"}):
        container.remove(force=True, v=True)
    client.close()


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def kit(request: pytest.FixtureRequest) -> Kit:
    made: Kit = request.getfixturevalue(f"{request.param}_kit")
    return made


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    clock = count(1)
    async with open_store(tmp_path / "store.db", origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as opened:
        yield opened
