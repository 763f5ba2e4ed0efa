"""The OPC UA mapper: sessions for trio, and the connections that broke a while ago. A shell."""

from collections.abc import Sequence

import trio

from edged.device.aio import Aio, Batches
from edged.device.mapper import Found, Heard, Mapper, Mappers, Want
from edged.device.opcua import nodes
from edged.device.opcua.connection import Connection
from edged.device.opcua.frames import bound_arrays
from edged.device.opcua.nodes import KEPT_S, Address, Node
from edged.device.opcua.trust import Trust
from edged.model.meta import JSON
from edged.model.values import Value

MAX_BROKEN = 64  # connections that broke and may be gone on with: a gateway has far fewer servers; the oldest is forgotten
CLOSE_S = 2.0  # a server that does not take its leave in this time is left


class OpcUaSession:
    """A server, as one device."""

    def __init__(self, mapper: "OpcUa", connection: Connection) -> None:
        self._mapper, self._connection = mapper, connection

    async def read(self, points: Sequence[Node]) -> list[Found]:
        """What is at these nodes."""
        connection = self._connection
        return await self._mapper.aio.run(lambda: connection.read(points))

    async def write(self, point: Node, value: Value) -> None:
        """Write a node, as its own type."""
        connection = self._connection
        await self._mapper.aio.run(lambda: connection.write(point, value))

    async def call(self, method: str, arguments: Sequence[Value]) -> list[Value]:
        """Call a method that the device's configData names; what it returns. PropertyError: it is refused."""
        connection = self._connection
        return await self._mapper.aio.run(lambda: connection.call(method, arguments))

    async def listen(
        self, wants: Sequence[Want[Node]], heard: Heard[Node], *, task_status: trio.TaskStatus[frozenset[Node]]
    ) -> None:
        """Have nodes monitored; those that the server does not monitor are left to be read."""
        if self._connection.wants != tuple(wants):
            self._connection = await self._mapper.matching(self._connection, tuple(wants))
        connection = self._connection
        hearing = await self._mapper.aio.run(lambda: connection.subscribe(wants))
        task_status.started(hearing)
        if not hearing:
            return
        while True:
            heard(await connection.heard.receive())

    async def aclose(self) -> None:
        """Let the server go; a connection that broke is kept for the next session."""
        connection = self._connection
        if connection.lost is not None:
            self._mapper.keep(connection)
            return
        with trio.move_on_after(CLOSE_S):
            await self._mapper.aio.run(connection.close)


class OpcUa:
    """OPC UA servers. Devices of one server have a session each."""

    def __init__(self, aio: Aio, trust: Trust) -> None:
        self.aio, self._trust = aio, trust
        self._broken: list[tuple[float, Connection]] = []  # since when, the oldest first

    def address(self, config: JSON) -> Address:
        """Where a server is."""
        return nodes.address(config)

    def point(self, type_: str, config: JSON) -> Node:
        """Where a property is."""
        return nodes.node(type_, config)

    async def connect(self, address: Address) -> OpcUaSession:
        """Connect anew; which connection of before is to be gone on with is known when the session listens."""
        connection = Connection(address, self._trust, Batches())
        await self.aio.run(connection.open)
        return OpcUaSession(self, connection)

    async def matching(self, connection: Connection, wants: tuple[Want[Node], ...]) -> Connection:
        """The connection that broke with these wants, open again, in the stead of this new one; else this one."""
        other = self._take(connection.address, wants)
        if other is None:
            return connection
        try:
            await self.aio.run(other.open)
        except BaseException:
            self.keep(other)
            raise
        await self.aio.run(connection.close)
        return other

    def keep(self, connection: Connection) -> None:
        """For the next session that is made at its address."""
        self._broken = [*self._broken, (trio.current_time(), connection)][-MAX_BROKEN:]

    def _take(self, address: Address, wants: tuple[Want[Node], ...]) -> Connection | None:
        now = trio.current_time()
        self._broken = [(since, each) for since, each in self._broken if now - since < KEPT_S]
        for at, (_, each) in enumerate(self._broken):
            if wants and (each.address, each.wants) == (address, wants):
                del self._broken[at]
                return each
        return None


def make(mappers: Mappers) -> Mapper[Address, Node]:
    """The mapper of this node."""
    bound_arrays()
    return OpcUa(mappers.aio, Trust(mappers.state_dir / "opcua"))
