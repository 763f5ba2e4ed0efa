"""The node's one UDP socket: whole bursts in (GRO) and out (GSO) where the kernel can, one datagram at a time elsewhere."""

import contextlib
import errno
import socket
import struct
from collections.abc import Sequence

import trio

from edged.errors import UnreachableError
from edged.kit.address import Address

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h; the socket module does not name them
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h: beyond the system's limit, for root
BUFFER = 4 << 20  # bytes each way: 30 ms at 130 MB/s; a turn of the loop takes less
MAX_SEGMENTS = 44  # datagrams in a burst: the kernel takes 64 of them and 65,507 bytes
MAX_RECEIVE = 65535  # bytes of one recvmsg
UNABLE = {errno.EIO, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOPROTOOPT, errno.EMSGSIZE}  # how a burst is refused
V4_MAPPED = "::ffff:"


class UdpSocket:
    """Sends and receives without waiting; what the kernel does not take is lost, and counted in `lost`.

    QUIC and probes live with loss, while waiting for one address would stall the links to all others.
    """

    def __init__(self, listen: Address) -> None:
        """Bind to an IP address and a port (0: any). UnreachableError when that cannot be."""
        self.ipv6 = ":" in listen.host
        self.lost = 0
        self._bursts = True
        family = socket.AF_INET6 if self.ipv6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if self.ipv6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.bind(listen)
        except OSError as error:
            self._socket.close()
            raise UnreachableError(f"UDP {listen}: {error.strerror}") from error
        for forced, asked in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, asked, BUFFER)
        with contextlib.suppress(OSError):  # an old kernel: datagrams then come one by one
            self._socket.setsockopt(SOL_UDP, UDP_GRO, 1)
        self.address = Address(*self._socket.getsockname()[:2])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def readable(self) -> None:
        """Wait until something arrived."""
        await trio.lowlevel.wait_readable(self._socket)

    def receive(self) -> tuple[bytes, int, Address] | None:
        """Datagrams from one address in a row, the size of each (the last may be shorter), the address; None: no more now."""
        try:
            data, control, _flags, source = self._socket.recvmsg(MAX_RECEIVE, socket.CMSG_SPACE(4))
        except BlockingIOError:
            return None
        except OSError:  # an error that the network reported, not a datagram
            self.lost += 1
            return None
        segment = len(data)
        for level, kind, value in control:
            if level == SOL_UDP and kind == UDP_GRO:
                (segment,) = struct.unpack("i", value[:4])
        host = source[0]
        if self.ipv6 and host.startswith(V4_MAPPED):
            host = host[len(V4_MAPPED) :]
        return data, segment, Address(host, source[1])

    def send(self, address: Address, datagrams: Sequence[bytes]) -> None:
        """Send datagrams: runs of one size leave as one burst, and a shorter one may end it."""
        if self.ipv6 and ":" not in address.host:
            address = Address(V4_MAPPED + address.host, address.port)
        begin = 0
        while begin < len(datagrams):
            size = len(datagrams[begin])
            end = begin + 1
            while (
                end < len(datagrams) and end - begin < MAX_SEGMENTS and len(datagrams[end - 1]) == size >= len(datagrams[end])
            ):
                end += 1
            self._burst(address, datagrams[begin:end], size)
            begin = end

    def _burst(self, address: Address, datagrams: Sequence[bytes], size: int) -> None:
        if len(datagrams) == 1 or not self._bursts:
            self._singly(address, datagrams)
            return
        try:
            self._socket.sendmsg(datagrams, [(SOL_UDP, UDP_SEGMENT, struct.pack("H", size))], 0, address)
        except OSError as error:
            if error.errno not in UNABLE:
                self.lost += len(datagrams)
            elif self._singly(address, datagrams):
                self._bursts = False  # one by one it works: the kernel or the card cannot cut bursts

    def _singly(self, address: Address, datagrams: Sequence[bytes]) -> bool:
        """Whether all were taken."""
        lost = 0
        for data in datagrams:
            try:
                self._socket.sendto(data, address)
            except OSError:  # full, or no way there: the path layer finds out
                lost += 1
        self.lost += lost
        return lost == 0
