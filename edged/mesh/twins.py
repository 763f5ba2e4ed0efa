"""Without root: a listener for each port of each service, on the loopback twin of the service's address."""

import errno
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import trio

from edged.errors import UnreachableError
from edged.kit.log import Log
from edged.mesh import streams
from edged.mesh.datagrams import Datagrams
from edged.mesh.names import Name
from edged.mesh.proxy import Proxy
from edged.mesh.table import ANY, TCP, UDP, Called, Door, Table
from edged.mesh.udpdoors import HIGHEST, INSTEAD, Place, UdpDoors

EVERYWHERE = "0.0.0.0"  # noqa: S104  a node port is at all addresses of the node
MAX_LISTENERS = 512  # half of the 1,024 files that a process may have open by default; the rest is for connections


class _Open(NamedTuple):
    """A door's listener, where it really listens, and what it leads to."""

    listener: socket.socket
    scope: trio.CancelScope
    port: int
    called: Called


class Twins:
    """Entrance of a node without root. `run` it first; `update` then keeps its listeners like the table.

    `listeners` says where each port of each service is really listened on.
    """

    _nursery: trio.Nursery

    def __init__(self, table: Callable[[], Table], proxy: Proxy, datagrams: Datagrams, log: Log) -> None:
        self._table, self._proxy, self._log = table, proxy, log
        self._udp: UdpDoors[Door] = UdpDoors(datagrams)
        self._open: dict[Door, _Open] = {}
        self._told: set[Door] = set()

    @property
    def listeners(self) -> dict[tuple[Name, int], tuple[str, int]]:
        """Where a client reaches each (service, port)."""
        return {
            (opened.called.name, opened.called.port.number): (door.address, opened.port)
            for door, opened in self._open.items()
            if door.address != ANY
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the listeners and their connections until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                await self._nursery.start(self._udp.run)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._open.clear()

    async def update(self) -> None:
        """Open and close listeners like the table, those there first; open connections go on.

        UnreachableError when one may not be had, or when there are too many.
        """
        wanted = {door: called for door, called in self._table().doors.items() if door.protocol == TCP}
        for door, opened in list(self._open.items()):
            in_the_way = opened.port != door.port and door._replace(port=opened.port) in wanted
            if wanted.get(door) != opened.called or in_the_way:
                await self._close(door)
        self._told &= wanted.keys()
        missing = self._udp.update(
            {
                door: Place(door.address or EVERYWHERE, door.port, called)
                for door, called in self._table().doors.items()
                if door.protocol == UDP
            }
        )
        closed = sorted(wanted.keys() - self._open.keys())
        room = MAX_LISTENERS - len(self._open)
        for door in closed[:room]:
            try:
                await self._listen(door, wanted)
            except OSError as error:
                missing.append(f"{wanted[door].name} cannot be served on {door.address}:{door.port}: {error.strerror}")
        if left := closed[room:]:
            missing.append(
                f"{len(left)} ports of services are not served, at most {MAX_LISTENERS} are: {wanted[left[0]].name} and on"
            )
        if missing:
            raise UnreachableError("; ".join(missing))

    async def _listen(self, door: Door, wanted: Mapping[Door, Called]) -> None:
        try:
            listener = await streams.listen(door.address or EVERYWHERE, door.port)
        except OSError as error:
            other = door._replace(port=door.port + INSTEAD)
            if error.errno not in {errno.EACCES, errno.EADDRINUSE} or other.port > HIGHEST or other in wanted:
                raise
            listener = await streams.listen(door.address or EVERYWHERE, other.port)
            if door not in self._told:
                self._told.add(door)
                where, why = f"{door.address}:{other.port}", error.strerror
                self._log.info(
                    f"port {door.port} of service {wanted[door].name} is served on {where}, since {door.port}: {why}"
                )
        self._open[door] = _Open(listener, trio.CancelScope(), listener.getsockname()[1], wanted[door])
        self._nursery.start_soon(self._accept, self._open[door])

    async def _close(self, door: Door) -> None:
        opened = self._open.pop(door)
        opened.scope.cancel()
        opened.listener.close()  # now, and not when the cancelled task runs: another door may want the port

    async def _accept(self, opened: _Open) -> None:
        serve = partial(self._proxy.serve, called=opened.called)
        with opened.scope:
            await streams.serve(opened.listener, serve, self._nursery)
