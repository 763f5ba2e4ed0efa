"""The sockets at which clients' datagrams arrive: one a UDP port of a service, as root, or one a door, without."""

import errno
import socket
from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

import trio

from edged.mesh import udp
from edged.mesh.datagrams import Datagrams
from edged.mesh.table import Called

K = TypeVar("K", bound=Hashable)

INSTEAD = 8000  # added to a port that may not be had: below 1024 without root, or taken by a program on all addresses
HIGHEST = 65535
MAX_DOORS = 512  # half of the 1,024 files that a process may have open by default


class Place(NamedTuple):
    """Where to listen (port 0: at any that is free), and what that leads to."""

    address: str
    port: int
    called: Called

    def leads(self, _client: object) -> Called:
        """As Datagrams asks."""
        return self.called


class UdpDoors(Generic[K]):
    """Sockets by key. `run` it first; `update` then keeps them like what is wanted."""

    _nursery: trio.Nursery

    def __init__(self, datagrams: Datagrams) -> None:
        self._datagrams = datagrams
        self._open: dict[K, tuple[Place, socket.socket]] = {}

    def port(self, key: K) -> int:
        """Where one really listens; 0 when it does not."""
        return int(self._open[key][1].getsockname()[1]) if key in self._open else 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the sockets until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            for _, sock in self._open.values():
                udp.close(sock)
            self._open.clear()

    def update(self, wanted: Mapping[K, Place]) -> list[str]:
        """Open and close sockets; flows of those that stay go on. Returns in words which ports are not served, and why."""
        for key in [key for key, (place, _) in self._open.items() if wanted.get(key) != place]:
            udp.close(self._open.pop(key)[1])
        missing = [(key, place) for key, place in wanted.items() if key not in self._open]
        room = MAX_DOORS - len(self._open)
        troubles = []
        for key, place in missing[:room]:
            try:
                sock = _bound(place.address, place.port)
            except OSError as error:
                troubles.append(f"{place.called} cannot be served on {place.address}: {error.strerror}")
                continue
            self._open[key] = place, sock
            self._nursery.start_soon(self._datagrams.serve, sock, place.leads)
        if missing[room:]:
            troubles.append(f"{len(missing[room:])} UDP ports of services are not served, at most {MAX_DOORS} are")
        return troubles


def _bound(address: str, port: int) -> socket.socket:
    try:
        return udp.bound(address, port)
    except OSError as error:
        if not port or error.errno not in {errno.EACCES, errno.EADDRINUSE} or port + INSTEAD > HIGHEST:
            raise
        return udp.bound(address, port + INSTEAD)
