"""The connected WebSockets, a shell around `core.Relay`: one reader, one writer and one keep-alive each.

A reader never waits for a writer: what it says goes into the others' outboxes, which are bounded.
"""

import secrets
import time
from collections.abc import Sequence
from random import Random

import trio
import trio_websocket

from edged.kit.log import Log
from edged.wire import relay as wire
from relay.core import Action, Relay, Send
from relay.openings import Opening
from relay.outbox import Outbox

PROOF_S = 10.0  # for the WebSocket upgrade and the proof
WRITE_S = 10.0  # a client whose TCP connection takes nothing for this long is gone
CLOSE_S = 2.0  # for the closing handshake of a WebSocket
KEEP_ALIVE_S = 60.0  # NATs and proxies forget a silent connection after minutes
KEEP_ALIVE_JITTER_S = 5.0  # so that clients that connected together are not pinged together
PONG_S = 15.0
EXPIRE_S = 15.0  # between looks for UDP ports that nobody uses
RECEIVE = 64 << 10  # bytes asked of a socket at once: a batch of datagrams in one system call
TOO_BIG = 1009  # the close code of a message that is too big (RFC 6455, section 7.4.1)


class _Client:
    """One WebSocket: what waits for it, and whether it is closed once that is written."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection, observed: str) -> None:
        self.websocket = websocket
        self.observed = observed
        self.outbox = Outbox()
        self.last = False
        self._some = trio.Event()

    def wake(self) -> None:
        """There is something to write, or nothing more to come."""
        self._some.set()

    async def wait(self) -> None:
        """Wait until there is."""
        while not self.outbox and not self.last:
            self._some = trio.Event()
            await self._some.wait()


class Clients:
    """Serves WebSockets to one relay."""

    def __init__(self, relay: Relay, *, keep_alive_s: float = KEEP_ALIVE_S, random: Random, log: Log) -> None:
        self._relay = relay
        self._keep_alive_s = keep_alive_s
        self._random = random
        self._log = log
        self._clients: dict[int, _Client] = {}
        self._session = int(time.time() * 1000)  # a relay that starts again does not repeat the numbers of its last run

    async def serve(self, stream: trio.abc.Stream, observed: str, opening: Opening) -> None:
        """Accept the WebSocket asked for on `stream` and serve it to its end; `opening` is done when it has proved itself.

        Raises what ends a connection by the other side's doing, perhaps in a group: see server.LOST.
        """
        async with trio.open_nursery() as nursery:
            websocket = await self._accept(nursery, stream)
            if websocket is not None:
                self._session += 1
                session, client = self._session, _Client(websocket, observed)
                self._clients[session] = client
                nursery.start_soon(self._write, session, client, nursery.cancel_scope)
                nursery.start_soon(self._keep_alive, client)
                try:
                    self._act(self._relay.connected(session, secrets.token_bytes(wire.NONCE), observed))
                    await self._read(session, client, opening)
                finally:
                    del self._clients[session]
                    self._act(self._relay.gone(session))
            nursery.cancel_scope.cancel()

    async def take_back(self) -> None:
        """Take back UDP ports that nobody uses, until cancelled."""
        while True:
            await trio.sleep(EXPIRE_S)
            self._act(self._relay.expire(trio.current_time()))

    async def _accept(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> trio_websocket.WebSocketConnection | None:
        with trio.move_on_after(PROOF_S):
            request = await trio_websocket.wrap_server_stream(
                nursery, stream, max_message_size=wire.MAX_WS_FRAME, receive_buffer_size=RECEIVE
            )
            if wire.SUBPROTOCOL in request.proposed_subprotocols:
                return await request.accept(subprotocol=wire.SUBPROTOCOL)
            await request.reject(400, body=f"expected the WebSocket subprotocol {wire.SUBPROTOCOL}\n".encode())
        self._relay.statistics.refused["upgrade"] += 1
        return None

    async def _read(self, session: int, client: _Client, opening: Opening) -> None:
        try:
            with trio.move_on_after(PROOF_S):
                while self._relay.admitted(session) is None:
                    await self._receive(session, client)
            node = self._relay.admitted(session)
            if node is None:
                self._act(self._relay.late(session))
                await trio.sleep_forever()  # the writer ends it, within WRITE_S and CLOSE_S
            opening.done()
            self._log.info(f"node {node} connected from {client.observed}")
            while True:
                await self._receive(session, client)
        except trio_websocket.ConnectionClosed as error:
            if error.reason is not None and error.reason.code == TOO_BIG:
                self._relay.statistics.dropped["oversized"] += 1
            raise

    async def _receive(self, session: int, client: _Client) -> None:
        frame = await client.websocket.get_message()
        self._act(self._relay.receive(session, frame, time.time()))

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            client = self._clients.get(action.session)
            if client is None:
                continue
            if isinstance(action, Send):
                if isinstance(action.message, wire.Refused):
                    self._log.info(f"refused {client.observed}: {action.message.reason}")
                dropped = client.outbox.put(action.message)
                if dropped:
                    self._relay.statistics.dropped["full"] += dropped
            else:
                client.last = True
            client.wake()

    async def _write(self, session: int, client: _Client, connection: trio.CancelScope) -> None:
        while client.outbox or not client.last:
            await client.wait()
            batch = client.outbox.take()
            if not batch:
                continue
            with trio.move_on_after(WRITE_S) as deadline:
                await client.websocket.send_message(wire.FROM_RELAY.encode(batch))
            if deadline.cancelled_caught:
                self._relay.statistics.refused["slow"] += 1
                raise trio.BrokenResourceError(f"session {session} took nothing for {WRITE_S:.0f} s")
        with trio.move_on_after(CLOSE_S):
            await client.websocket.aclose()
        connection.cancel()

    async def _keep_alive(self, client: _Client) -> None:
        while True:
            await trio.sleep(self._keep_alive_s + self._random.uniform(0, KEEP_ALIVE_JITTER_S))
            with trio.move_on_after(PONG_S) as deadline:
                await client.websocket.ping()
            if deadline.cancelled_caught:
                self._relay.statistics.refused["silent"] += 1
                raise trio.BrokenResourceError(f"no answer to a ping in {PONG_S:.0f} s")
