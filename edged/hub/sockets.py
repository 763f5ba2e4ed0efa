"""Further UDP sockets beside the node's one: a hard NAT gives each of them a port of its own towards a peer (portsearch.py)."""

import select
from collections.abc import Iterable, Sequence

import trio

from edged.errors import UnreachableError
from edged.hub.portsearch import SOCKETS
from edged.kit.address import Address
from edged.kit.udp import UdpSocket

MOST = 2 * SOCKETS  # open at once: one search, and what earlier ones found. A process may have 1,024 files as a rule


class Sockets:
    """Opens them on any port of `host`, and hears them all at once. They are called by numbers that are never used again."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._open: dict[int, UdpSocket] = {}
        self._by_file: dict[int, int] = {}
        self._last = 0
        self._poll: select.epoll | None = None  # made when it is first needed
        self._opened = trio.Event()

    def open(self, count: int) -> list[int]:
        """The numbers of so many new ones, or of fewer when no more are to be had."""
        numbers: list[int] = []
        if self._poll is None:
            self._poll = select.epoll()
        while len(numbers) < count and len(self._open) < MOST:
            try:
                opened = UdpSocket(Address(self._host, 0))
            except (OSError, UnreachableError):  # too many files: a search with fewer may do
                break
            self._last += 1
            self._open[self._last] = opened
            self._by_file[opened.fileno()] = self._last
            self._poll.register(opened.fileno(), select.EPOLLIN)
            numbers.append(self._last)
        self._opened.set()
        return numbers

    def close(self, numbers: Iterable[int]) -> None:
        """Close these."""
        for number in numbers:
            closed = self._open.pop(number, None)
            if closed is not None:
                del self._by_file[closed.fileno()]
                closed.close()

    def close_all(self) -> None:
        """Close all that are open."""
        self.close(tuple(self._open))
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def send(self, number: int, address: Address, datagrams: Sequence[bytes], hops: int | None = None) -> None:
        """Send from that socket; nothing when it is closed. With `hops` they die after so many."""
        sender = self._open.get(number)
        if sender is not None and hops is None:
            sender.send(address, datagrams)
        elif sender is not None and hops is not None:
            for data in datagrams:
                sender.send_near(address, data, hops)

    async def readable(self) -> list[tuple[int, UdpSocket]]:
        """Wait until something arrived; at which of them."""
        while self._poll is None or not self._open:
            self._opened = trio.Event()
            await self._opened.wait()
        await trio.lowlevel.wait_readable(self._poll.fileno())
        ready = [self._by_file.get(file) for file, _ in self._poll.poll(0)]
        return [(number, self._open[number]) for number in ready if number is not None]
