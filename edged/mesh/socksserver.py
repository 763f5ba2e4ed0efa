"""The SOCKS5 server: programs that cannot resolve our names reach services and nodes by them through a proxy's address."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from edged.errors import ProtocolError, UnreachableError
from edged.kit.address import Address
from edged.mesh import streams
from edged.mesh.proxy import Proxy
from edged.mesh.socks import Asked, Code, Dialogue, destination, reply
from edged.mesh.table import Called, Table
from edged.mesh.zone import Zone

MAX_CLIENTS = 256  # at a time, as a browser and a few tools make them; one more is reset
ASK_S = 10.0  # for a client to say what it wants: two short messages
READ = 512  # bytes at a time while it does: both have at most 262


@dataclass
class SocksStatistics:
    """Counted since the start, but for `open`, which is now. `refused`: strangers, nonsense, and one client too many."""

    open: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0


class SocksServer:
    """Listens on `address`. `table` and `zone` are as they are now, `allows(host, now)` says who may ask."""

    def __init__(
        self,
        address: Address,
        table: Callable[[], Table],
        zone: Callable[[], Zone],
        proxy: Proxy,
        allows: Callable[[str, float], bool],
    ) -> None:
        self.address = address
        self._table, self._zone, self._proxy, self._allows = table, zone, proxy, allows
        self.statistics = SocksStatistics()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. UnreachableError when the address cannot be had."""
        try:
            listener = await streams.listen(*self.address)
        except OSError as error:
            raise UnreachableError(f"SOCKS5 cannot listen on {self.address}: {error.strerror}") from error
        self.address = Address(self.address.host, listener.getsockname()[1])
        async with trio.open_nursery() as nursery:
            task_status.started()
            await streams.serve(listener, self._serve, nursery)

    async def _serve(self, client: trio.SocketStream) -> None:
        self.statistics.open += 1
        try:
            if self.statistics.open > MAX_CLIENTS or not self._may_ask(client):
                self.statistics.refused += 1
            else:
                await self._exchange(client)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left
        finally:
            self.statistics.open -= 1
            await streams.reset(client)  # unless it was closed in good order

    def _may_ask(self, client: trio.SocketStream) -> bool:
        try:
            return self._allows(client.socket.getpeername()[0], trio.current_time())
        except OSError:  # it has gone already
            return False

    async def _exchange(self, client: trio.SocketStream) -> None:
        asked = await self._asked(client)
        if asked is None:
            self.statistics.refused += 1
            return
        where = destination(self._table(), self._zone(), asked)
        if where is None:
            self.statistics.unknown += 1
            await _refuse(client, Code.HOST_UNREACHABLE)
            return
        self.statistics.accepted += 1
        if isinstance(where, Called):
            opened, failed = reply(Code.SUCCEEDED), reply(Code.REFUSED)
            await self._proxy.serve(client, where, opened=opened, failed=failed)
        else:
            await _connect(client, where)

    async def _asked(self, client: trio.SocketStream) -> Asked | None:
        """What the client wants; None when it does not say in ASK_S, or speaks something else."""
        dialogue = Dialogue()
        asked = None
        with trio.move_on_after(ASK_S):
            while asked is None:
                data = await client.receive_some(READ)
                if not data:
                    return None
                try:
                    asked = dialogue.receive(data)
                except ProtocolError:
                    await client.send_all(dialogue.outgoing())
                    await client.aclose()
                    return None
                await client.send_all(dialogue.outgoing())
        return asked


async def _connect(client: trio.SocketStream, where: Address) -> None:
    try:
        upstream = await streams.connect(*where)
    except UnreachableError:
        await _refuse(client, Code.REFUSED)
        return
    try:
        await client.send_all(reply(Code.SUCCEEDED))
        await streams.splice(client, upstream)
    finally:
        await streams.reset(upstream)


async def _refuse(client: trio.SocketStream, code: Code) -> None:
    await client.send_all(reply(code))
    await client.aclose()
