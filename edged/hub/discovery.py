"""Finds the other nodes of the group on the LAN, and is found by them, without a relay: beacons by multicast, out and in."""

import contextlib
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Protocol

import trio

from edged.errors import ProtocolError
from edged.hub.beacon import ANSWER_S, MAX_BEACON, SEARCH_S, START, Beacons, Hint, pause
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address
from edged.kit.interfaces import multicast_interfaces
from edged.kit.log import Log

GROUP = Address("239.255.74.0", 7401)  # of the organisation-local scope (RFC 2365), one above the links' usual port
TTL = 1  # this LAN and no further
MAX_INTERFACES = 16  # Linux lets a socket join 20 groups
DRAIN = 32  # datagrams taken before other tasks run: a flood must not stop the node
IP_PKTINFO = 8  # linux/in.h; the socket module does not name it
_PACKET_INFO = struct.Struct("=i4s4s")  # interface, source, destination: in_pktinfo of ip(7)
_MEMBERSHIP = struct.Struct("=4s4si")  # group, address, interface: ip_mreqn of ip(7)
_ANY = bytes(4)


class Listener(Protocol):
    """Who is told of found nodes."""

    def known(self, hint: Hint, address: Address) -> bool:
        """Whether a node's beacon from there would change nothing, so that it need not be verified."""

    def found(self, hint: Hint, address: Address) -> None:
        """A node proved that it is on this LAN; its UDP socket is at `address` unless the beacon was replayed from there."""

    @property
    def searching(self) -> bool:
        """Whether some node is looked for."""


class Discovery:
    """Beacons for the UDP socket at `links`, and others' beacons to `listener`.

    A machine where multicast cannot be sent or heard says so once, and tries again at each `look`.
    """

    def __init__(
        self,
        links: Address,
        listener: Listener,
        *,
        identity: Identity,
        verifier: Verifier,
        log: Log,
        random: Random,
        wall: Callable[[], float],
        token: Callable[[int], bytes],
    ) -> None:
        self._links, self._listener = links, listener
        self._beacons = Beacons(identity, verifier, token(START))
        self._log, self._random, self._wall = log, random, wall
        self._socket: socket.socket | None = None
        self._interfaces: dict[int, str] = {}
        self._pause = trio.CancelScope()
        self._complained = False
        self.refused = 0  # datagrams that were no beacon for us, or proved nothing

    async def run(self) -> None:
        """Send and hear beacons until cancelled; returns when there can be no socket for them."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as made:
            try:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # several nodes on one machine
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
                made.bind(GROUP)  # nothing else comes in; beacons still leave with an address of their interface
            except OSError as error:
                self._complain(f"{GROUP}: {error.strerror}")
                return
            try:
                self._socket = made
                self.look()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hear)
                    nursery.start_soon(self._speak)
            finally:
                self._socket, self._interfaces = None, {}

    def look(self) -> None:
        """Interfaces may have come or gone: hear and speak on those that are there."""
        if self._socket is None:
            return
        before, self._interfaces = self._interfaces, _chosen(multicast_interfaces(), self._links)
        for index in before.keys() - self._interfaces.keys():
            with contextlib.suppress(OSError):  # it went with the interface
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, _membership(index))
        for index in self._interfaces.keys() - before.keys():
            try:
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _membership(index))
            except OSError as error:
                self._complain(f"joining {GROUP.host}: {error.strerror}")
                self._interfaces = {other: address for other, address in self._interfaces.items() if other != index}
        if self._interfaces.items() - before.items():
            self._sooner(0.0)

    def answer(self) -> None:
        """A node was found that is to hear of us soon."""
        self._sooner(self._random.random() * ANSWER_S)

    def search(self) -> None:
        """Some node is looked for from now on."""
        self._sooner(SEARCH_S)

    async def _speak(self) -> None:
        sent = 0
        while True:
            wait = pause(sent, searching=self._listener.searching, random=self._random)
            with trio.CancelScope(deadline=trio.current_time() + wait) as self._pause:
                await trio.sleep_forever()
            sent += 1
            self._send()

    def _sooner(self, seconds: float) -> None:
        self._pause.deadline = min(self._pause.deadline, trio.current_time() + seconds)

    def _send(self) -> None:
        if self._socket is None or not self._interfaces:
            return
        data = self._beacons.make(self._links.port)
        for index, address in self._interfaces.items():
            info = _PACKET_INFO.pack(index, socket.inet_aton(address), _ANY)
            try:
                self._socket.sendmsg((data,), [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, GROUP)
            except OSError as error:  # the next one is soon enough
                self._complain(f"sending from {address}: {error.strerror}")

    async def _hear(self) -> None:
        while self._socket is not None:
            await trio.lowlevel.wait_readable(self._socket)
            for _ in range(DRAIN):
                try:
                    data, source = self._socket.recvfrom(MAX_BEACON + 1)
                except BlockingIOError:
                    break
                except OSError as error:  # an error that the network reported, not a datagram
                    self._complain(f"hearing {GROUP.host}: {error.strerror}")
                    break
                if not self._beacons.own(data):
                    self._take(data, source[0])
            await trio.lowlevel.checkpoint()

    def _take(self, data: bytes, host: str) -> None:
        try:
            hint = self._beacons.hint(data)
            if not self._listener.known(hint, Address(host, hint.port)):
                hint = self._beacons.verify(data, trio.current_time(), self._wall())
                self._listener.found(hint, Address(host, hint.port))
        except ProtocolError as error:
            self.refused += 1
            self._log.debug(f"from {host}: {error}")

    def _complain(self, reason: str) -> None:
        if not self._complained:
            self._complained = True
            self._log.info(f"nodes on the LAN may not be found, {reason}; going on with what else is known")


def _chosen(interfaces: Mapping[int, Sequence[str]], links: Address) -> dict[int, str]:
    """The interfaces for beacons, each with the address to send from: where the socket for links is reached."""
    bound = links.ip
    if bound is None or not bound.is_unspecified:
        return {index: links.host for index, addresses in interfaces.items() if links.host in addresses}
    return {index: interfaces[index][0] for index in sorted(interfaces)[:MAX_INTERFACES]}


def _membership(index: int) -> bytes:
    return _MEMBERSHIP.pack(socket.inet_aton(GROUP.host), _ANY, index)
