"""As root: one listener takes the connections that the rules send it, and asks the kernel where they were bound for."""

import socket
import struct
from collections.abc import Callable

import trio

from edged.errors import UnreachableError
from edged.mesh import kernel, streams
from edged.mesh.proxy import Proxy
from edged.mesh.rules import ruleset
from edged.mesh.table import Name, Table

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h
SOCKADDR_IN = struct.Struct("!HH4s8x")  # ip(7), with the family, which we do not read, in the host's order


class Redirected:
    """Entrance of a node with root. `run` it first; `update` then keeps the kernel's rules like the table."""

    def __init__(self, table: Callable[[], Table], proxy: Proxy) -> None:
        self._table, self._proxy = table, proxy
        self._address: tuple[str, int] = (kernel.ADDRESS, 0)
        self._applied: dict[tuple[str, int], Name] | None = None

    @property
    def listeners(self) -> dict[tuple[Name, int], tuple[str, int]]:
        """Where a client reaches each (service, port)."""
        return {(name, port): (address, port) for (address, port), name in (self._applied or {}).items()}

    async def run(self, *, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED) -> None:
        """Take connections until cancelled. UnreachableError when the address cannot be had."""
        try:
            listener = await streams.listen(kernel.ADDRESS, 0)
        except OSError as error:
            raise UnreachableError(f"the proxy cannot listen on {kernel.ADDRESS}: {error.strerror}") from error
        self._address, self._applied = listener.socket.getsockname(), None
        await trio.serve_listeners(self._serve, [listener], task_status=task_status)

    async def update(self) -> None:
        """Make the rules match the table. UnreachableError when the kernel refuses: the rules of before stay."""
        pairs = {(address, port): entry.name for address, entry in self._table().addressed.items() for port in entry.ports}
        if pairs != self._applied:  # else only pods changed, of which the rules know nothing
            await kernel.apply(ruleset(pairs, self._address))
            self._applied = pairs

    async def _serve(self, client: trio.SocketStream) -> None:
        try:
            address, port = original_destination(client.socket)
        except OSError:  # it came to our port directly, or its entry in the kernel's table is gone
            await streams.reset(client)
            return
        entry = self._table().addressed.get(address)
        if entry is None:
            await streams.reset(client)
        else:
            await self._proxy.serve(client, entry.name, port)


def original_destination(sock: trio.socket.SocketType) -> tuple[str, int]:
    """Where a connection was bound for before a rule sent it here. OSError when the kernel does not know."""
    _, port, address = SOCKADDR_IN.unpack(sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, SOCKADDR_IN.size))
    return socket.inet_ntoa(address), port
