"""Which driver a node has: Docker when its socket is there, else host processes; or what its configuration says."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from edged.errors import InvalidError
from edged.runtime.docker import DockerDriver
from edged.runtime.dockerd import SOCKET
from edged.runtime.driver import Driver
from edged.runtime.podnetwork import unheard
from edged.runtime.process import ProcessDriver

Choice = Literal["auto", "docker", "process"]


def choose_driver(
    choice: Choice,
    *,
    node: str,
    directory: Path,
    socket: str = SOCKET,
    network: str = "",
    pods: Callable[[], str] = str,
    told: Callable[[str], Awaitable[None]] = unheard,
    dns: Sequence[str] = (),
) -> Driver:
    """The driver of node `node`. Host processes keep their state in `directory`; the rest is for DockerDriver.

    Raises InvalidError when docker was chosen and its socket is not there or may not be used.
    """
    if choice == "process":
        return ProcessDriver(directory, node)
    why = _unusable(Path(socket))
    if why is None:
        return DockerDriver(node, socket=socket, network=network, pods=pods, told=told, dns=dns)
    if choice == "docker":
        raise InvalidError(f"the runtime is to be docker, but its socket {socket} cannot be used: {why}")
    return ProcessDriver(directory, node)


def _unusable(socket: Path) -> str | None:
    if not socket.exists():
        return "it is not there"
    if not socket.is_socket():
        return "it is no socket"
    return None if os.access(socket, os.R_OK | os.W_OK) else "this user may not use it"
