"""The node's WebSocket to a relay: kept up as long as the node runs, one relay after the other until one takes us."""

from collections.abc import Callable, Sequence
from itertools import cycle
from random import Random
from urllib.parse import SplitResult, urlsplit

import trio
import trio_websocket
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from edged.errors import DeniedError, InvalidError, ProtocolError
from edged.hub.relaydial import RelayDial, address_of
from edged.hub.relayspeech import RelaySpeech, Told, Waiting, Welcomed, forwards
from edged.identity.node import Identity
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.kit.proxy import Proxy
from edged.kit.queues import DropOldest
from edged.wire.relay import FROM_NODE, MAX_WS_FRAME, SUBPROTOCOL

RETRY_FIRST_S, RETRY_CAP_S = 0.5, 30.0
STEADY_S = 10.0  # a connection that held for so long begins the back-off anew; shorter ones count as failures
CONNECT_S = 10.0  # for TCP, TLS, the upgrade and the proof
PING_S = 20.0  # proxies and mobile NATs forget a silent connection after 30 s
PONG_S = 10.0
MAX_WAITING = 2048  # datagrams that wait to be forwarded, 2.7 MB: a second at 20 Mbit/s; the oldest goes, and QUIC slows down
BATCH = 256  # datagrams taken at a time
RECEIVE = 64 << 10  # bytes asked of the socket at once

LOST = (
    OSError,  # also what TLS finds wrong
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    WebSocketProtocolError,
    ProtocolError,
)
"""How a connection to a relay ends by no fault of ours."""


class RelayLink:
    """Keeps one WebSocket to one of `urls` (wss://host:port; ws:// to this machine only, unless `insecure`).

    `told` is called with what the relay says, `lost` when it is away again. InvalidError when a URL cannot be used. `proxy` is
    the way out to it, None: as the environment says. `ipv6`: whether our UDP socket speaks that, too.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        identity: Identity,
        told: Callable[[Told], None],
        lost: Callable[[], None],
        random: Random,
        log: Log,
        insecure: bool = False,
        proxy: Proxy | None = None,
        ipv6: bool = False,
    ) -> None:
        self.urls = [_checked(url, insecure=insecure) for url in urls]
        self._identity, self._told, self._lost, self._log = identity, told, lost, log
        self.dialling = RelayDial(identity, proxy=proxy, ipv6=ipv6)
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S, random)
        self._waiting: DropOldest[Waiting] = DropOldest(MAX_WAITING)
        self.url: str | None = None  # of the relay that takes us now
        self.observed: str | None = None  # our address as that relay sees it
        self.udp_host: str | None = None  # the IP address of that relay, None when our UDP socket does not reach such ones
        self.reason = "not tried yet" if self.urls else "none is configured"  # why none takes us; "" when one does

    @property
    def dropped(self) -> int:
        """Datagrams that had to go because the relay took them too slowly."""
        return self._waiting.dropped

    def send(self, node: str, datagrams: Sequence[bytes]) -> None:
        """Forward datagrams to a node, without waiting; while no relay takes us they are lost."""
        if self.url is not None:
            for data in datagrams:
                self._waiting.put((node, data))

    def allot(self, node: str) -> None:
        """Ask for a UDP port between us and a node, without waiting."""
        if self.url is not None:
            self._waiting.put((node, None))

    async def run(self) -> None:
        """Keep the connection up until cancelled; returns at once when there are no relays."""
        for url in cycle(self.urls):
            delay = await self._attempt(url)
            self._log.warning(f"relay {self.reason}; retrying in {delay:.1f} s")
            await trio.sleep(delay)

    async def _attempt(self, url: SplitResult) -> float:
        """One connection, to its end; how long to wait before the next."""
        began = trio.current_time()
        delay = RETRY_CAP_S
        try:
            await self._connection(url)
        except* DeniedError as denied:  # it will say so again: no hurry
            self.reason = f"{url.geturl()}: {text_of(denied)}"
        except* LOST as lost:
            self.reason = f"{url.geturl()}: {text_of(lost)}"
            if trio.current_time() - began > STEADY_S:
                self._backoff.reset()
            delay = self._backoff.next()
        return delay

    async def _connection(self, url: SplitResult) -> None:
        with trio.fail_after(CONNECT_S):
            stream = await self.dialling.dial(url)
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(CONNECT_S):
                    websocket = await trio_websocket.wrap_client_stream(
                        nursery,
                        stream,
                        url.netloc,
                        url.path or "/",
                        subprotocols=[SUBPROTOCOL],
                        max_message_size=MAX_WS_FRAME,
                        receive_buffer_size=RECEIVE,
                    )
                    speech = RelaySpeech(self._identity, address_of(url).host)
                    self.udp_host = await self.dialling.udp_host(url, stream)
                    while self.url is None:
                        await self._hear(url, websocket, speech)
                nursery.start_soon(self._forward, websocket)
                nursery.start_soon(self._keep_alive, websocket)
                while True:
                    await self._hear(url, websocket, speech)
        finally:
            await trio.aclose_forcefully(stream)  # the relay sees the end; its WebSocket farewell is worth no waiting
            if self.url is not None:
                self.url = self.observed = None
                self._lost()

    async def _hear(self, url: SplitResult, websocket: trio_websocket.WebSocketConnection, speech: RelaySpeech) -> None:
        frame = await websocket.get_message()
        if isinstance(frame, str):
            raise ProtocolError("the relay sent a text message")
        answers, told = speech.receive(frame)
        if answers:
            await websocket.send_message(FROM_NODE.encode(answers))
        for message in told:
            if isinstance(message, Welcomed):
                self.url, self.observed, self.reason = url.geturl(), message.observed, ""
                self._log.info(f"relay {self.url} takes us, and sees us at {message.observed}")
            self._told(message)

    async def _forward(self, websocket: trio_websocket.WebSocketConnection) -> None:
        while True:
            for frame in forwards(await self._waiting.take(BATCH)):
                await websocket.send_message(frame)

    async def _keep_alive(self, websocket: trio_websocket.WebSocketConnection) -> None:
        while True:
            await trio.sleep(PING_S)
            with trio.fail_after(PONG_S):
                await websocket.ping()


def _checked(text: str, *, insecure: bool) -> SplitResult:
    try:
        url = urlsplit(text)
        address = address_of(url)
    except ValueError as error:
        raise InvalidError(f"relay {text!r}: {error}") from error
    if url.scheme not in ("ws", "wss") or not address.host:
        raise InvalidError(f"relay {text!r}: expected wss://host:port")
    if url.scheme == "ws" and not (insecure or address.loopback):
        raise InvalidError(f"relay {text!r}: ws without TLS leaves this machine: expected wss://, or relay.insecure = true")
    return url


def text_of(error: BaseException) -> str:
    """One line that says how a connection to a relay ended."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, trio.TooSlowError):
        return "no answer in time"
    if isinstance(error, trio_websocket.ConnectionClosed):
        return f"the connection was closed ({error.reason})" if error.reason is not None else "the connection was lost"
    return str(error) or str(error.__cause__ or "") or type(error).__name__
