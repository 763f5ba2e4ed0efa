"""What the worker asks of a container runtime: the `Driver` protocol and the values that pass through it. Pure."""

from collections.abc import AsyncGenerator, Callable
from typing import Literal, NoReturn, Protocol

import msgspec

from edged.model.core import ContainerPort

LOG_FILE_BYTES = 10 << 20  # bytes of a container's log file before it is rotated: the kubelet's containerLogMaxSize
LOG_FILES = 3  # log files kept a container, so 30 MB: flash is small, and the kubelet's 5 were made for servers

LOST_EXIT_CODE = 137  # what the kubelet reports for a container that ended while nobody watched
LOST_REASON = "ContainerStatusUnknown"
START_EXIT_CODE = 128  # what the kubelet reports for a command that could not be started
START_REASON = "StartError"

State = Literal["created", "running", "exited"]


class Identity(msgspec.Struct, frozen=True):
    """Which container this is. It is kept with the container, so that it is found again after a restart of the daemon.

    `attempt` counts the containers of this name in this pod from 0: it is the restart count. `crashes` is how many of them
    ended in a row before this one, without a long run between them: the back-off grows with it. `digest` is of the wish
    that it was made from; `grace` the seconds it gets to end when its pod is gone.
    """

    node: str
    namespace: str
    pod: str
    uid: str
    container: str
    attempt: int = 0
    crashes: int = 0
    digest: str = ""
    grace: int = 30


class ContainerSpec(msgspec.Struct, frozen=True):
    """One container to make. `env` is complete and expanded; so are `command` (replaces the image's entrypoint) and `args`.

    `cpu` is in cores and `memory` in bytes, None where there is no limit.
    """

    identity: Identity
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    working_dir: str = ""
    hostname: str = ""
    host_network: bool = False
    ports: tuple[ContainerPort, ...] = ()
    cpu: float | None = None
    memory: int | None = None


class Observed(msgspec.Struct, frozen=True):
    """One container as its runtime sees it. Times are seconds since 1970.

    `exit_code` is 128 + signal when a signal ended it; `reason` says what an exit code cannot: OOMKilled, StartError (it
    could not be started), ContainerStatusUnknown; `message` tells more. `address` is the pod's, empty while it has none of
    its own.
    """

    id: str
    identity: Identity
    state: State
    created: float
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    address: str = ""
    image_id: str = ""


class LogOptions(msgspec.Struct, frozen=True):
    """Which lines: the last `tail` (-1: all), since a time in seconds since 1970; `follow` until the container ends.

    With `timestamps` each line begins with its time, RFC 3339 with nanoseconds, and a space.
    """

    follow: bool = False
    tail: int = -1
    since: float = 0.0
    timestamps: bool = False


class Driver(Protocol):
    """A container runtime. Every method may raise UnreachableError: the runtime is away and may return.

    It sees and touches only containers of its own node. Cancelling a call leaves nothing half made that the next
    `containers` does not show.
    """

    name: str

    async def version(self) -> str:
        """Name and version as a Node's status shows them: `docker://28.2.2`."""
        ...

    def address(self, uid: str) -> str | None:
        """The address that a pod will have, where it is known before its first container starts."""
        ...

    async def containers(self, uid: str | None = None) -> list[Observed]:
        """The containers of this node, or of one pod, in the order of their attempts."""
        ...

    async def pull(self, image: str, policy: str) -> None:
        """Make sure that the image is here. `policy` is Always, IfNotPresent or Never.

        Raises InvalidError when it cannot be had.
        """
        ...

    async def create(self, spec: ContainerSpec) -> str:
        """Make a container and return its id.

        Raises InvalidError when the runtime refuses it, AlreadyExistsError when there is one of this pod, name and attempt.
        """
        ...

    async def start(self, container: str) -> None:
        """Start a created container. NotFoundError when it is gone.

        One that cannot be started (its command is not there, its port is taken) has ended, with StartError as the reason.
        """
        ...

    async def terminate(self, container: str) -> None:
        """Ask it to end (SIGTERM, or the image's own stop signal). Returns at once; one that has ended is no error."""
        ...

    async def kill(self, container: str) -> None:
        """End it now. Returns at once; one that has ended is no error."""
        ...

    async def remove(self, container: str) -> None:
        """Remove an ended container with its log; one that is gone is no error. Raises InvalidError while it runs."""
        ...

    def logs(self, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """What it printed. Close it (`contextlib.aclosing`). Raises NotFoundError when there is no such container."""
        ...

    async def watch(self, changed: Callable[[str | None], None]) -> NoReturn:
        """Call `changed` with the uid of a pod whose container may have ended; with None (any pod) when watching begins."""
        ...

    def close(self) -> None:
        """Let go of the runtime; the containers go on."""
        ...
