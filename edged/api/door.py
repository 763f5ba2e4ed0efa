"""The doors themselves: HTTPS with client certificates on a TCP port, and a Unix socket for this machine's administrators."""

import datetime
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import trio

from edged.api import who
from edged.api.allocation import Addresses, Allocate
from edged.api.dispatch import Dispatch, OpenDevice, OpenLogs
from edged.api.http import Connection, describe
from edged.api.kubeconfig import ClientAuthority
from edged.api.metrics import Figure
from edged.errors import InvalidError
from edged.identity.certificates import Subject
from edged.kit.address import Address
from edged.kit.files import PRIVATE_FILE
from edged.kit.log import Log
from edged.model.meta import JSON
from edged.store.store import Store

MAX_CONNECTIONS = 128  # at each door, beyond which new ones are closed at once: a site has some tens of clients
MAX_BODIES = 8  # request bodies in memory at a time (3 MB each, parsed about ten times that); others wait with theirs unread
HANDSHAKE_S = 5.0  # for TLS, on a machine of one slow core
BACKLOG = 128


class ServerIdentity(Protocol):
    """What the door shows of its node: `edged.identity.node.Identity` has it."""

    @property
    def key_pem(self) -> bytes:
        """The node's private key."""

    @property
    def certificate_pem(self) -> bytes:
        """The node's certificate of the fleet authority."""

    @property
    def subject(self) -> Subject:
        """Whom that names."""


class Api:
    """The Kubernetes-compatible API of one node, over its store.

    TCP callers prove themselves with a certificate of the node's own client authority in `state_dir` (edged.api.kubeconfig);
    on the Unix socket the daemon's own user and root are administrators. `allocate(namespace, name, used)` gives a service
    its address, and `is_service_address` knows which ones a client may choose; `open_logs(opening, node)` opens what a
    container on a node printed, `open_device(opening, node)` what a device there answers; `figures()` are further lines of
    `/metrics`, `status()` what `edged status` shows, `netcheck()` and `ping(node)` what these commands do.
    """

    def __init__(
        self,
        store: Store,
        identity: ServerIdentity,
        *,
        state_dir: Path,
        host: str,
        port: int,
        socket_path: Path,
        allocate: Allocate,
        open_logs: OpenLogs,
        open_device: OpenDevice,
        wall: Callable[[], float],
        new_uid: Callable[[], str],
        is_service_address: Callable[[str], bool],
        figures: Callable[[], Iterable[Figure]],
        status: Callable[[], JSON],
        netcheck: Callable[[], Awaitable[JSON]],
        ping: Callable[[str], Awaitable[JSON]],
        log: Log,
    ) -> None:
        self._identity, self._state_dir, self._wall, self._log = identity, state_dir, wall, log
        self._host, self._port, self._socket_path = host, port, socket_path
        addresses = Addresses(allocate, is_service_address)
        self._dispatch = Dispatch(
            store, addresses, open_logs, open_device, wall, new_uid, figures, status, netcheck, ping, log, identity.subject
        )
        self._bodies = trio.CapacityLimiter(MAX_BODIES)

    async def run(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve both doors until cancelled. Started with the address of the TCP port, once both take connections.

        InvalidError when one of them cannot be opened, or the client authority's files are damaged.
        """
        context = self._context()

        async def serve_tls(stream: trio.SocketStream) -> None:
            await self._serve_tls(stream, context)

        async with await _tcp_listener(self._host, self._port) as tcp:
            with _unix_listener(self._socket_path) as unix:
                async with trio.open_nursery() as nursery:
                    await nursery.start(trio.serve_listeners, _Door(serve_tls, self._log).serve, [tcp])
                    await nursery.start(trio.serve_listeners, _Door(self._serve_unix, self._log).serve, [unix])
                    host, port = tcp.socket.getsockname()[:2]
                    task_status.started(Address(host, port))

    async def _serve_tls(self, transport: trio.SocketStream, context: ssl.SSLContext) -> None:
        stream = trio.SSLStream(transport, context, server_side=True, https_compatible=True)
        with trio.move_on_after(HANDSHAKE_S) as handshake:
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError as error:
                self._log.debug(f"a client's TLS handshake failed: {error.__cause__ or error}")
                return
        if not handshake.cancelled_caught:
            await self._serve(stream, who.of_certificate(stream.getpeercert()))

    async def _serve_unix(self, stream: trio.SocketStream) -> None:
        _, uid, _ = struct.unpack("3i", stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        await self._serve(stream, who.of_uid(uid, os.getuid()))

    async def _serve(self, stream: trio.abc.Stream, caller: who.Caller | None) -> None:
        await Connection(stream, caller, self._dispatch.answer, self._bodies, self._log).serve()

    def _context(self) -> ssl.SSLContext:
        authority = ClientAuthority.open(self._state_dir, datetime.datetime.fromtimestamp(self._wall(), datetime.UTC))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.verify_mode = ssl.CERT_OPTIONAL  # who shows none may ask for health and version, and is else told 401
        context.load_verify_locations(cadata=authority.certificate_pem.decode("ascii"))
        descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)  # OpenSSL reads files only, and this need not be one
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._identity.key_pem + self._identity.certificate_pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        return context


class _Door:
    """Counts the connections at one listener, closes those above the limit, and keeps a bug in one to that one."""

    def __init__(self, serve: Callable[[trio.SocketStream], Awaitable[None]], log: Log) -> None:
        self._serve, self._log = serve, log
        self._open = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, from its acceptance to its end."""
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                await self._serve(stream)
        except Exception as error:  # of one client's connection: others go on
            self._log.error(f"a connection ended by a bug: {describe(error)}")
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)


async def _tcp_listener(host: str, port: int) -> trio.SocketListener:
    try:
        return (await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG))[0]
    except OSError as error:
        raise InvalidError(f"the API cannot listen on {Address(host, port)}: {error.strerror or error}") from error


@contextmanager
def _unix_listener(path: Path) -> Iterator[trio.SocketListener]:
    """A listener at `path` for its owner only, in the place of one that an earlier daemon left behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
        os.fchmod(unix.fileno(), PRIVATE_FILE)  # before the name exists: it never has another mode
        try:
            path.unlink(missing_ok=True)
            unix.bind(str(path))
        except OSError as error:
            raise InvalidError(f"the API cannot listen on {path}: {error.strerror or error}") from error
        unix.listen(BACKLOG)
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(unix))
        finally:
            path.unlink(missing_ok=True)
