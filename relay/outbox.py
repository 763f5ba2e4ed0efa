"""What waits to be written to one client, bounded: news of nodes, and datagrams of which the oldest go when it is full."""

from collections import deque

from edged.wire import relay as wire

QUEUE_BYTES = 1 << 20  # of datagrams: four full frames of a sender; what a client that does not read may cost the relay
QUEUE_DATAGRAMS = 1024  # that is of 1,024 bytes each; bounds what small ones cost in objects
BATCH_BYTES = 128 << 10  # in one WebSocket message, and one datagram of 64 kB more: nearly what a sender's frame brings
ENVELOPE = 160  # bytes around the datagrams of one sender at most: its name, its group and MessagePack's headers
HEADER = 5  # bytes of MessagePack before a datagram at most
BATCH_NEWS = 400  # messages about nodes in one WebSocket message, under 160 bytes each: MAX_WS_FRAME has room for both


class Outbox:
    """Messages for one client, oldest first. `put` never waits; `take` hands over what may travel together.

    News of one node supersedes older news of it, and so does its port; so news is bounded by the nodes there are and is
    never dropped.
    """

    def __init__(self) -> None:
        self._news: dict[tuple[str, str, bool], wire.FromRelay] = {}
        self._datagrams: deque[tuple[tuple[str, str], bytes]] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._news or self._datagrams)

    def put(self, message: wire.FromRelay) -> int:
        """Add a message; returns how many datagrams were dropped to make room."""
        if not isinstance(message, wire.Deliver):
            about = ("", "", False)
            if isinstance(message, wire.Presence | wire.Absence | wire.Allotted):
                about = (message.group, message.node, isinstance(message, wire.Allotted))
            self._news.pop(about, None)
            self._news[about] = message
            return 0
        sender = (message.sender, message.group)
        for datagram in message.datagrams:
            self._datagrams.append((sender, datagram))
            self._bytes += len(datagram)
        dropped = 0
        while len(self._datagrams) > QUEUE_DATAGRAMS or self._bytes > QUEUE_BYTES:
            self._bytes -= len(self._datagrams.popleft()[1])
            dropped += 1
        return dropped

    def take(self) -> list[wire.FromRelay]:
        """What goes into the next WebSocket message, at most MAX_WS_FRAME when encoded; empty when nothing waits."""
        batch = [self._news.pop(about) for about in list(self._news)[:BATCH_NEWS]]
        size, sender = 0, ("", "")
        run: list[bytes] = []
        while self._datagrams and size < BATCH_BYTES:
            whose, datagram = self._datagrams.popleft()
            self._bytes -= len(datagram)
            if whose != sender:
                sender, run = whose, []
                batch.append(wire.Deliver(whose[0], run, whose[1]))
                size += ENVELOPE
            run.append(datagram)
            size += len(datagram) + HEADER
        return batch
