"""A connection to an OPC UA server with its session and subscription, on the asyncio loop. It outlives its channel.

When the channel breaks, the server keeps the session and queues what is monitored (Part 4, 6.7). `open` again goes on where
it was: the session is activated on a new channel, or the subscription transferred to a new session, and the messages that
were lost on the way are asked for again, in their order. What a server has given up is read anew.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.client.ua_session import UaSession
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509

from edged.device.aio import Batches
from edged.device.mapper import Found, PropertyError, Want
from edged.device.opcua.access import Access
from edged.device.opcua.frames import Channel
from edged.device.opcua.nodes import KEPT_S, Address, Node
from edged.device.opcua.subscription import Heard, Subscription
from edged.device.opcua.trust import Trust
from edged.device.opcua.variants import words
from edged.errors import EdgedError, ProtocolError, UnreachableError
from edged.model.values import Value

WATCH_S = 5.0  # a server that is hung is noticed after this and its timeout
CHANNEL_MS = 3_600_000  # the life of the keys of a channel
RENEW = 0.75  # of that life, then they are renewed (Part 4, 5.6.2)
STATE = ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)

T = TypeVar("T")


class _Session(UaSession):  # type: ignore[misc]  # the library is not followed
    """The library's session without its publish loop: it cannot say what was missed."""

    def ensure_publish_loop(self) -> None:
        """The subscription publishes."""


class Connection:
    """One server. `heard` gets what is monitored; it also says when the connection is lost. Used by one caller at a time."""

    def __init__(self, address: Address, trust: Trust, heard: Batches[Heard]) -> None:
        self.address, self.heard = address, heard
        self.lost: EdgedError | None = None
        self._trust = trust
        self._client = Client(address.url, timeout=address.timeout)
        self._client.name = self._client.description = "edged"
        self._client.uaclient = Channel(address.timeout)
        self._client.session_timeout = int(KEPT_S * 1000)
        self._client.secure_channel_timeout = CHANNEL_MS
        self._client.uaclient.session = _Session(self._client.uaclient)
        self._shown: x509.Certificate | None = None  # by the server, once the channel is to be secured
        self._access = Access(address, self._client)
        self._subscription = Subscription(self._client, self._access, heard, self._lose)
        self._tasks: list[asyncio.Task[None]] = []

    # The way there

    async def open(self) -> None:
        """Connect, or connect again. UnreachableError, ProtocolError."""
        await self._translated(self._open)

    async def _open(self) -> None:
        client, again = self._client, self._client.uaclient.has_session
        try:
            await self._secure()
            await client.connect_socket()
            await client.send_hello()
            await client.open_secure_channel()
            if not again or not await self._again():
                await client.create_session()
                await client.activate_session(self.address.user_name or None, await self._password())
                await self._keep()
                await self._subscription.transfer()
        except BaseException:
            client.disconnect_socket()
            raise
        self.lost = None
        self.heard.again()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._renew())]
        self._subscription.keep_publishing()

    async def _again(self) -> bool:
        """Whether the server still has the session: it is activated on the new channel."""
        self._client.uaclient.session.rebind_authentication_token()
        try:
            await self._client.activate_session(self.address.user_name or None, await self._password())
        except ua.UaStatusCodeError:
            self._client.uaclient.session.reset_authentication_token()
            return False
        return True

    async def _password(self) -> str | None:
        if not self.address.password_file:
            return self.address.password or None
        try:
            text = await asyncio.to_thread(Path(self.address.password_file).read_text)
        except (OSError, UnicodeDecodeError) as error:
            raise UnreachableError(f"passwordFile {self.address.password_file}: {error}") from error
        return text.rstrip("\n")

    async def _secure(self) -> None:
        """Choose the policy of the channel once, with the certificates of both."""
        address = self.address
        if self._shown is not None or address.security_policy == "None":
            return
        own = await asyncio.to_thread(self._trust.own, address)
        policy = getattr(security_policies, f"SecurityPolicy{address.security_policy}")
        mode = ua.MessageSecurityMode[address.security_mode]
        endpoints = await self._client.connect_and_get_server_endpoints()
        endpoint = Client.find_endpoint(endpoints, mode, policy.URI)
        shown = uacrypto.x509_from_der(endpoint.ServerCertificate)
        if shown is None:
            raise ProtocolError("offers security, but shows no certificate")
        await asyncio.to_thread(self._trust.check, address, shown)
        self._client.application_uri = own.uri
        self._client.security_policy = policy(shown, own.certificate, own.key, mode)
        self._client.uaclient.set_security(self._client.security_policy)
        self._shown = shown

    async def _keep(self) -> None:
        if self._shown is not None:
            await asyncio.to_thread(self._trust.keep, self.address, self._shown)

    async def close(self) -> None:
        """Let the server go: session, subscription and channel."""
        self._end_tasks()
        try:
            if self._client.uaclient.state is UaClientState.CONNECTED:
                await self._client.close_session()
                await self._client.close_secure_channel()
        except (ua.UaError, OSError, TimeoutError):
            pass  # it is let go either way
        finally:
            self._client.disconnect_socket()

    def _end_tasks(self) -> None:
        self._subscription.pause()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._tasks = []

    # While it is there

    async def _watch(self) -> None:
        """Notice that the server is gone, hung, or has dropped the subscription."""
        client = self._client.uaclient
        try:
            async with client.subscribe_state() as states:
                while client.state is UaClientState.CONNECTED:
                    try:
                        await states.next_change(WATCH_S)
                    except TimeoutError:
                        await self._access.held([STATE])
                        self._subscription.check()
            raise ConnectionError
        except Exception as error:
            self._lose(error)

    async def _renew(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._client.secure_channel_timeout * RENEW / 1000)
                await self._client.open_secure_channel(renew=True)
                self._client.uaclient.revolve_security_token()
        except Exception as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        """The first who notices says so; the channel is closed, the session left to `open`."""
        if self.lost is None:
            self.lost = self._words(error)
            self._end_tasks()
            self._client.disconnect_socket()
            self.heard.fail(self.lost)

    async def _translated(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await work()
        except Exception as error:
            raise self._words(error) from error

    def _words(self, error: Exception) -> EdgedError:
        """What the library raised, in words. It raises anything for answers that follow no protocol."""
        if isinstance(error, PropertyError):
            return error
        if isinstance(error, UnreachableError | ProtocolError):
            told = str(error)
            return type(error)(told if told.startswith(self.address.url) else f"{self.address}: {told}")
        if isinstance(error, TimeoutError):
            return UnreachableError(f"{self.address} does not answer within {self.address.timeout:g} s")
        if isinstance(error, OSError):
            why = f"is not reached: {error.strerror}" if error.strerror else "breaks the connection"
            return UnreachableError(f"{self.address} {why}")
        if isinstance(error, ua.UaStatusCodeError):
            return UnreachableError(f"{self.address} refuses: {words(ua.StatusCode(error.code))}")
        return ProtocolError(f"{self.address} follows no OPC UA: {str(error) or type(error).__name__}")

    # What is done with it

    @property
    def wants(self) -> tuple[Want[Node], ...]:
        """What is monitored, or was when the channel broke."""
        return self._subscription.wants

    async def read(self, nodes: Sequence[Node]) -> list[Found]:
        """What is at these nodes, in their order."""
        return await self._asked(lambda: self._access.read(nodes))

    async def write(self, node: Node, value: Value) -> None:
        """Write a value as the node's own type. PropertyError: the type cannot hold it, or the server refuses."""
        await self._asked(lambda: self._access.write(node, value))

    async def call(self, method: str, arguments: Sequence[Value]) -> list[Value]:
        """Call a method that the device's `methods` names. PropertyError: there is none, or the server refuses."""
        return await self._asked(lambda: self._access.call(method, arguments))

    async def subscribe(self, wants: Sequence[Want[Node]]) -> frozenset[Node]:
        """Have these monitored; what the server takes is returned. The same as before goes on without a gap."""
        return await self._asked(lambda: self._subscription.subscribe(wants))

    async def _asked(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """An error that ends the session leaves it to `open`, as a channel that breaks does: what is queued is not lost."""
        try:
            return await self._translated(work)
        except (UnreachableError, ProtocolError) as error:
            self._lose(error)
            raise
