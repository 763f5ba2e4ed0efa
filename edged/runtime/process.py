"""The process driver: the command of a container (image `host`) as a host process in its own session and process group.

For machines without Docker, and for tests. It needs no privileges. What it cannot do: limits, an own file system, an own
network. A pod gets a loopback address of its own instead; a process that listens on 0.0.0.0 listens for the whole machine.

    daemon --starts--> shim (shim.py) --is the parent of--> process
           <-- files in DIRECTORY/<id>: made.json, run.json, exit.json, log -->

The shim outlives the daemon, so the exit code and the log are kept while no daemon runs.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec
import trio

import edged
from edged.errors import AlreadyExistsError, InvalidError, NotFoundError, StorageError, UnreachableError
from edged.kit.files import private_dir, write_private
from edged.runtime import shim
from edged.runtime.driver import (
    LOG_FILE_BYTES,
    LOG_FILES,
    LOST_EXIT_CODE,
    LOST_REASON,
    ContainerSpec,
    Identity,
    LogOptions,
    Observed,
)
from edged.runtime.logfile import read_log

IMAGE = "host"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIRST_ADDRESS = IPv4Address("127.64.0.0")
ADDRESSES = 1 << 21  # 127.64.0.0 to 127.95.255.255; 127.96.0.0/16 is for services
POD_DIGITS = 16  # of a directory's name: the pod's part, so that the containers of one pod are found without reading all

T = TypeVar("T")


class Made(msgspec.Struct, frozen=True):
    """made.json: what the shim runs."""

    identity: Identity
    command: tuple[str, ...]
    env: dict[str, str]
    directory: str
    created: float
    address: str
    log_bytes: int
    log_files: int


class Run(msgspec.Struct, frozen=True):
    """run.json: which process it is. A process is known by boot, number and start time, so never mistaken for a later one."""

    boot: str
    pid: int
    ticks: int | None
    shim_pid: int
    shim_ticks: int | None
    started: float

    def shim_alive(self) -> bool:
        """The shim will write exit.json."""
        return self._alive(self.shim_pid, self.shim_ticks)

    def process_alive(self) -> bool:
        """The process itself runs."""
        return self._alive(self.pid, self.ticks)

    def _alive(self, pid: int, ticks: int | None) -> bool:
        return self.boot == shim.boot_id() and ticks is not None and shim.start_ticks(pid) == ticks


class Exit(msgspec.Struct, frozen=True):
    """exit.json: how it ended."""

    code: int
    finished: float
    reason: str = ""
    message: str = ""


def shim_command() -> tuple[str, ...]:
    """How to run the shim: with this interpreter, or as a hidden command of the packed binary."""
    if getattr(sys, "frozen", False):
        return (sys.executable, "--shim")
    return (sys.executable, "-I", "-S", "-B", shim.__file__)


class ProcessDriver:
    """Host processes, with all their state in files under `directory`. Linux 5.3 or later (pidfd)."""

    name = "process"

    def __init__(
        self,
        directory: Path,
        node: str,
        *,
        clock: Callable[[], float] = time.time,
        log_bytes: int = LOG_FILE_BYTES,
        log_files: int = LOG_FILES,
    ) -> None:
        self._directory = private_dir(directory)
        self._node, self._clock = node, clock
        self._log_bytes, self._log_files = log_bytes, log_files
        self._started = trio.Event()

    async def version(self) -> str:
        """`process://` and the version of edged."""
        await trio.lowlevel.checkpoint()
        return f"process://{edged.__version__}"

    def address(self, uid: str) -> str | None:
        """A loopback address derived from the pod's uid: the same for all its life, known before it starts."""
        number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big")
        return str(FIRST_ADDRESS + number % ADDRESSES)

    async def containers(self, uid: str | None = None) -> list[Observed]:
        """The containers whose directories are there."""
        await trio.lowlevel.checkpoint()
        pattern = "*" if uid is None else f"{_pod_part(uid)}-*"
        found = [self._observe(path) for path in self._directory.glob(pattern) if not path.name.endswith(".new")]
        ours = [one for one in found if one is not None and one.identity.node == self._node]
        return sorted(ours, key=lambda one: (one.identity.uid, one.identity.container, one.identity.attempt))

    async def pull(self, image: str, policy: str) -> None:
        """The only image is `host`: the machine itself."""
        await trio.lowlevel.checkpoint()
        if image != IMAGE:
            raise InvalidError(f'image "{image}": this node runs host processes only, image "{IMAGE}"')

    async def create(self, spec: ContainerSpec) -> str:
        """Write made.json into a new directory."""
        if not spec.command:
            raise InvalidError(f'image "{IMAGE}" has no command of its own: spec.containers[].command is required')
        if any("\0" in text for text in (*spec.command, *spec.args, *spec.env, *spec.env.values(), spec.working_dir)):
            raise InvalidError("command, args, env and workingDir may not contain a zero byte")
        identity = spec.identity
        made = Made(
            identity=identity,
            command=(*spec.command, *spec.args),
            env={"PATH": PATH, **spec.env},
            directory=spec.working_dir or "/",
            created=self._clock(),
            address="" if spec.host_network else self.address(identity.uid) or "",
            log_bytes=self._log_bytes,
            log_files=self._log_files,
        )
        name = _name(identity)
        await trio.to_thread.run_sync(self._make, name, msgspec.json.encode(made))
        return name

    async def start(self, container: str) -> None:
        """Leave a shim behind that runs it. A command that cannot be run is an ended container with reason StartError."""
        path = self._path(container)
        try:
            command = [*shim_command(), str(path)]
            result = await trio.run_process(
                command, env={}, capture_stdout=True, capture_stderr=True, check=False, start_new_session=True
            )
        except OSError as error:  # no memory, or no process more
            raise UnreachableError(f"the shim of a process did not start: {error.strerror}") from error
        self._started.set()
        if result.returncode != 0 and not (path / "run.json").exists():
            text = result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise UnreachableError(f"the shim of a process did not start: {text}")

    async def terminate(self, container: str) -> None:
        """SIGTERM to the group."""
        await self._signal(container, signal.SIGTERM)

    async def kill(self, container: str) -> None:
        """SIGKILL to the group."""
        await self._signal(container, signal.SIGKILL)

    async def remove(self, container: str) -> None:
        """Remove the directory."""
        path = self._directory / container
        seen = self._observe(path)
        if seen is not None and seen.state == "running":
            raise InvalidError(f"container {container} is running")
        await trio.to_thread.run_sync(_remove, path)

    async def logs(self, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """The log files, read in a thread."""
        path = self._path(container)

        def running() -> bool:
            seen = self._observe(path)
            return seen is not None and seen.state != "exited"

        try:
            async with contextlib.aclosing(read_log(path, options, running)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error

    async def watch(self, changed: Callable[[str | None], None]) -> NoReturn:
        """Wait for the end of every process; a start is one more to wait for.

        What a look finds ended is told once, even if it began and ended between two looks.
        """
        told: set[str] = set()
        changed(None)
        while True:
            self._started = trio.Event()
            async with trio.open_nursery() as nursery:

                async def first(wait: Callable[[], Awaitable[None]], scope: trio.CancelScope = nursery.cancel_scope) -> None:
                    await wait()
                    scope.cancel()

                nursery.start_soon(first, self._started.wait)
                there = [path.parent for path in self._directory.glob("*/run.json")]
                told.intersection_update(path.name for path in there)
                for path in there:
                    run = self._running(path)
                    if run is not None:
                        nursery.start_soon(first, partial(self._ended, run))
                    elif path.name not in told:
                        told.add(path.name)
                        made = _read(path / "made.json", Made)
                        changed(made.identity.uid if made else None)

    async def _ended(self, run: Run) -> None:
        """Wait for the end of the shim, which comes after that of its process; of the process when the shim was killed."""
        pid = run.shim_pid if run.shim_alive() else run.pid
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                if run.shim_alive() or run.process_alive():  # else the number may be somebody else's by now
                    await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Nothing is held."""

    def _path(self, container: str) -> Path:
        path = self._directory / container
        if not (path / "made.json").exists():
            raise NotFoundError(f"container {container} not found")
        return path

    def _running(self, path: Path) -> Run | None:
        """The process of a directory, unless it has ended."""
        run = _read(path / "run.json", Run)
        if run is None or (path / "exit.json").exists() or not (run.shim_alive() or run.process_alive()):
            return None
        return run

    def _observe(self, path: Path) -> Observed | None:
        made = _read(path / "made.json", Made)
        if made is None:
            return None  # it is being removed
        run = _read(path / "run.json", Run)
        alive = self._running(path) is not None
        end = None if run is None or alive else self._end(path)
        return Observed(
            id=path.name,
            identity=made.identity,
            state="created" if run is None else "running" if end is None else "exited",
            created=made.created,
            started=run.started if run else None,
            finished=end.finished if end else None,
            exit_code=end.code if end else None,
            reason=end.reason if end else "",
            message=end.message if end else "",
            address=made.address,
            image_id=IMAGE,
        )

    def _end(self, path: Path) -> Exit:
        """How it ended. When nobody was there to see (the shim was killed, the machine went down), that is written down."""
        end = _read(path / "exit.json", Exit)
        if end is None:
            text = "it ended while nobody watched: its exit code is unknown"
            end = Exit(LOST_EXIT_CODE, self._clock(), LOST_REASON, text)
            try:
                write_private(path / "exit.json", msgspec.json.encode(end))
            except OSError as error:
                raise StorageError(f"{path}: {error.strerror}") from error
        return end

    def _make(self, name: str, made: bytes) -> None:
        new = self._directory / f"{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        try:
            private_dir(new)
            write_private(new / "made.json", made)
            new.rename(self._directory / name)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise AlreadyExistsError(f"container {name} is there already") from error
            raise StorageError(f"{self._directory}: {error.strerror}") from error

    async def _signal(self, container: str, number: signal.Signals) -> None:
        await trio.lowlevel.checkpoint()
        run = _read(self._directory / container / "run.json", Run)
        if run is not None and run.process_alive():
            try:
                os.killpg(run.pid, number)
            except ProcessLookupError:
                return  # it ended this moment
            except PermissionError as error:
                raise UnreachableError(f"process {run.pid} runs as another user: it cannot be stopped") from error


def _read(path: Path, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise StorageError(f"{path} cannot be read ({error}): remove its directory") from error


def _remove(path: Path) -> None:
    """First out of sight, then away: a power cut leaves no half of it to be found as a container."""
    gone = path.with_name(f"{path.name}.new")
    shutil.rmtree(gone, ignore_errors=True)
    try:
        path.rename(gone)
        shutil.rmtree(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _pod_part(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:POD_DIGITS]


def _name(identity: Identity) -> str:
    """The directory of one attempt: names from outside are never paths."""
    one = hashlib.sha256(f"{identity.node}\0{identity.container}\0{identity.attempt}".encode()).hexdigest()
    return f"{_pod_part(identity.uid)}-{one[:POD_DIGITS]}"
