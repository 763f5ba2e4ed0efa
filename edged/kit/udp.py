"""A UDP socket: whole bursts in (GRO) and out (GSO) where the kernel can, one datagram at a time elsewhere."""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator, Sequence

import trio

from edged.errors import UnreachableError
from edged.kit.address import Address

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h; the socket module does not name them
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h: beyond the system's limit, for root
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3  # linux/in.h, linux/in6.h
BUFFER = 4 << 20  # bytes each way: 30 ms at 130 MB/s; a turn of the loop takes less
MAX_SEGMENTS = 64  # datagrams that the kernel takes in a burst: UDP_MAX_SEGMENTS of old ones
MAX_RECEIVE = 65535  # bytes of one recvmsg
MAX_SEND = 65507  # bytes of one sendmsg by IPv4
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
            # Nothing is cut into fragments, here or on the way: a path shows by probes what it carries (RFC 8899, section 3).
            self._socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
            if self.ipv6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
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

    def fileno(self) -> int:
        """Of the socket, for who waits for several."""
        return self._socket.fileno()

    async def readable(self) -> None:
        """Wait until something arrived."""
        await trio.lowlevel.wait_readable(self._socket)

    def receive(self) -> tuple[bytes, int, Address] | None:
        """Datagrams from one address in a row, the size of each (the last may be shorter), the address; None: no more now."""
        try:
            data, control, _flags, source = self._socket.recvmsg(MAX_RECEIVE, socket.CMSG_SPACE(4))
        except OSError as error:
            self._failed(error)
            return None
        return data, _segment(control, len(data)), self._address(source)

    def receive_into(self, buffer: memoryview) -> tuple[int, int, Address] | None:
        """The same into `buffer`, of MAX_RECEIVE bytes: how many they are, instead of them."""
        try:
            size, control, _flags, source = self._socket.recvmsg_into((buffer,), socket.CMSG_SPACE(4))
        except OSError as error:
            self._failed(error)
            return None
        return size, _segment(control, size), self._address(source)

    def _failed(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):  # an error that the network reported, not a datagram
            self.lost += 1

    def _address(self, source: tuple[str, int]) -> Address:
        host = source[0]
        if self.ipv6 and host.startswith(V4_MAPPED):
            host = host[len(V4_MAPPED) :]
        return Address(host, source[1])

    def send(self, address: Address, datagrams: Sequence[bytes]) -> None:
        """Send datagrams: runs of one size leave as one burst, and a shorter one may end it."""
        address = self._destination(address)
        if len(datagrams) == 1:
            self._singly(address, datagrams, len(datagrams[0]))
            return
        for burst in bursts(datagrams):
            self._burst(address, burst, len(burst[0]))

    def send_near(self, address: Address, data: bytes, hops: int) -> None:
        """Send one datagram that dies after so many hops (IP_TTL of ip(7), IPV6_HOPLIMIT of ipv6(7))."""
        six = ":" in address.host
        option = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT) if six else (socket.IPPROTO_IP, socket.IP_TTL)
        try:
            self._socket.sendmsg((data,), [(*option, struct.pack("i", hops))], 0, self._destination(address))
        except OSError:  # full, or no way there: the path layer finds out
            self.lost += 1

    def pass_on(self, address: Address, burst: memoryview, size: int) -> None:
        """Send datagrams as they were received: each of `size` bytes, at least 1, the last may be shorter."""
        address = self._destination(address)
        most = max(MAX_SEND // size, 1) * size  # by IPv6 a little more may arrive
        for at in range(0, len(burst), most):
            self._burst(address, (burst[at : at + most],), size)

    def _destination(self, address: Address) -> Address:
        return Address(V4_MAPPED + address.host, address.port) if self.ipv6 and ":" not in address.host else address

    def _burst(self, address: Address, pieces: Sequence[bytes] | Sequence[memoryview], size: int) -> None:
        """`pieces` hold datagrams of `size` bytes, and the last may be shorter."""
        if not self._bursts or (len(pieces) == 1 and len(pieces[0]) <= size):
            self._singly(address, pieces, size)
            return
        try:
            self._socket.sendmsg(pieces, [(SOL_UDP, UDP_SEGMENT, struct.pack("H", size))], 0, address)
        except OSError as error:
            if error.errno not in UNABLE:
                self.lost += sum(-(-len(piece) // size) for piece in pieces)
            elif self._singly(address, pieces, size):
                self._bursts = False  # one by one it works: the kernel or the card cannot cut bursts

    def _singly(self, address: Address, pieces: Sequence[bytes] | Sequence[memoryview], size: int) -> bool:
        """Whether all were taken."""
        lost = 0
        for piece in pieces:
            for at in range(0, len(piece), size):
                try:
                    self._socket.sendto(piece[at : at + size], address)
                except OSError:  # full, or no way there: the path layer finds out
                    lost += 1
        self.lost += lost
        return lost == 0


def _segment(control: list[tuple[int, int, bytes]], whole: int) -> int:
    """The size of each datagram that was received, out of what the kernel says beside them."""
    for level, kind, value in control:
        if level == SOL_UDP and kind == UDP_GRO:
            (segment,) = struct.unpack("i", value[:4])
            return int(segment)
    return whole


def bursts(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Runs of datagrams of one size, of which the last may be shorter, each as much as the kernel takes at once."""
    begin = 0
    while begin < len(datagrams):
        size = len(datagrams[begin])
        last = min(len(datagrams), begin + min(MAX_SEGMENTS, MAX_SEND // max(size, 1)))
        end = begin + 1
        while end < last and len(datagrams[end - 1]) == size >= len(datagrams[end]) > 0:
            end += 1
        yield datagrams[begin:end]
        begin = end
