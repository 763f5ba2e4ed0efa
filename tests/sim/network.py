"""The network of a simulated group: links that come up, stall, are lost and come again, all by one seeded random source.

What QUIC does to datagrams that are lost, doubled or late is what a stream shows of it: pieces arrive in order, some of them
much later, and a link that stalls for too long breaks, with all that was under way. (Datagrams themselves are lost, doubled
and reordered in tests/hub; nothing of sync travels as one.) What does come twice, and in another order:

- Registers and pulses come by several links, each as late as it likes, when pairs are cut and in groups that are not linked
  fully.
- Two nodes that dial each other have two links for a moment, until the first is given up: what was under way on it comes
  behind what is said on the second, in a dialogue that its sender believes to be over.
- Words of a dialogue are said again behind newer ones, as by a peer that says what it knows no more: see AGAIN. Of the others
  a dialogue knows that it is broken, and ends: deltas are counted, so that the next vector can say which of them are in it; a
  second Hello, Fresh or Standing is out of turn.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import trio

from edged.errors import ProtocolError, UnreachableError
from edged.wire.codec import Frames
from edged.wire.peer import ANSWER, Opened, Sync
from edged.wire.sync import SYNC, Certificates, Digest, Found, Pulses, Vector, Want

WINDOW = 256 << 10  # bytes under way on a stream
LATENCY_S = (0.0005, 0.02)
TICK_S = 0.05  # what comes within this time comes together
LOSS, RETRANSMIT_S = 0.03, (0.05, 0.6)  # pieces that have to be sent again, and how much later they come
LINK_S = (0.05, 0.8)  # from wanting a link to having it
IDLE_S = (2.0, 10.0)  # from a cut to its being noticed
TWICE, TWICE_S = 0.2, (0.02, 0.5)  # pairs that dial each other at once, and when the first link is given up
LATE_S = (0.1, 3.0)  # how much later than new words comes what was under way then
REPLAY, REPLAY_S = 0.01, (0.1, 10.0)  # words that are said again, and how much later
AGAIN = (Vector, Digest, Pulses, Certificates, Want, Found)  # those of which a second time must be harmless

Pair = frozenset[str]


class _Pipe:
    """One direction of a stream."""

    def __init__(self, random: Random, stalled: Callable[[], bool], post: "Post") -> None:
        self._random, self._stalled, self._post = random, stalled, post
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._size, self._last = 0, 0.0
        self._again: tuple[float, bytes] | None = None  # words to be said once more, and when
        self.ended = self.broken = self.unheard = False
        self.moved = trio.Event()

    def move(self) -> None:
        self.moved.set()
        self.moved = trio.Event()

    async def put(self, data: bytes) -> None:
        while self._size >= WINDOW and not self.broken:
            await self.moved.wait()
        if self.unheard:
            return
        if self.broken:
            raise trio.BrokenResourceError("the link is lost")
        self._send(data)
        now = trio.current_time()
        if self._again is not None and self._again[0] <= now:
            self._send(self._again[1])
            self._again = None
        elif self._again is None and self._random.random() < REPLAY and _repeatable(data):
            self._again = (now + self._random.uniform(*REPLAY_S), data)

    def _send(self, data: bytes) -> None:
        late = self._random.uniform(*LATENCY_S)
        if self._random.random() < LOSS:
            late += self._random.uniform(*RETRANSMIT_S)
        self._last = max(self._last, (int((trio.current_time() + late) / TICK_S) + 1) * TICK_S)
        self._pieces.append((self._last, data))
        self._size += len(data)
        self._post.at(self._last, self)

    async def take(self) -> bytes:
        while True:
            if self.broken:
                raise trio.BrokenResourceError("the link is lost")
            moved = self.moved
            if self._pieces and self._pieces[0][0] <= trio.current_time() and not self._stalled():
                return self._ready()
            if self.ended and not self._pieces:
                return b""
            await moved.wait()

    def give_up(self) -> None:
        """Its reader is gone; who writes does not know yet."""
        self.unheard = self.broken = True
        self.move()

    def fall_behind(self, late: float) -> None:
        """What is under way comes later."""
        self._pieces = deque((at + late, data) for at, data in self._pieces)
        self._last += late
        for at, _ in self._pieces:
            self._post.at(at, self)

    def _ready(self) -> bytes:
        """All that has come by now."""
        data = bytearray()
        while self._pieces and self._pieces[0][0] <= trio.current_time():
            data += self._pieces.popleft()[1]
        self._size -= len(data)
        self.move()
        return bytes(data)


def _repeatable(data: bytes) -> bool:
    """Whether a frame is of those that may be said again."""
    frames = Frames()
    frames.feed(data)
    frame = frames.next()
    try:
        return frame is not None and isinstance(SYNC.decode(frame), AGAIN)
    except ProtocolError:  # the answer to the opening
        return False


class Post:
    """Wakes the readers of pieces that have come: one task for all, as waking is what a simulation's time goes to."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, _Pipe]] = []
        self._scope = trio.CancelScope()
        self._number = 0

    def at(self, time: float, pipe: _Pipe) -> None:
        self._number += 1
        heapq.heappush(self._due, (time, self._number, pipe))
        if self._due[0][2] is pipe:
            self._scope.deadline = time

    async def run(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._due[0][0] if self._due else math.inf) as self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2].move()


class Stream(trio.abc.HalfCloseableStream):
    def __init__(self, into: _Pipe, out: _Pipe) -> None:
        self._in, self._out = into, out
        self._closed = False
        self.first = b""  # what is read before all else

    # Whoever has to wait here waits; a checkpoint in each call would double what a simulation costs.

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError("closed")
        if self.first:
            first, self.first = self.first, b""
            return first
        return await self._in.take()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed or self._out.ended:
            raise trio.ClosedResourceError("closed")
        await self._out.put(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        self._out.ended = True
        self._out.move()

    async def aclose(self) -> None:
        self._closed = True
        self._out.ended = True
        self._in.broken = True
        for pipe in (self._in, self._out):
            pipe.move()
        await trio.lowlevel.checkpoint()

    def replace(self, late: float) -> None:
        """This end gives the stream up for one on another link. What it has said is under way, and comes `late`."""
        self._in.give_up()
        self._out.fall_behind(late)

    def lose(self) -> None:
        for pipe in (self._in, self._out):
            pipe.broken = True
            pipe.move()


class Hub:
    """What a node sees of the network: `edged.sync.group.Links`."""

    def __init__(self, name: str, network: "Network") -> None:
        self.name, self._network = name, network
        self.wanted: frozenset[str] = frozenset()
        self.serve: Callable[[str, Sync, trio.abc.HalfCloseableStream], Any] | None = None
        self.changed = trio.Event()
        self.dropped: list[tuple[str, str]] = []

    @property
    def known(self) -> frozenset[str]:
        return self._network.names - {self.name}

    @property
    def neighbours(self) -> frozenset[str]:
        return self._network.linked(self.name)

    async def known_changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.known == before:
            await self.changed.wait()
        return self.known

    async def neighbours_changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.neighbours == before:
            await self.changed.wait()
        return self.neighbours

    def want(self, nodes: frozenset[str] | None) -> None:
        self.wanted = self.known if nodes is None else nodes
        self._network.look()

    def drop(self, node: str, reason: str) -> None:
        self.dropped.append((node, reason))
        self._network.lose(frozenset((self.name, node)))

    async def open_stream(self, node: str, opening: Sync) -> trio.abc.HalfCloseableStream:
        return await self._network.open(self.name, node, opening)


class Network:
    """`nursery` runs what is under way; `random` decides all."""

    def __init__(self, names: Iterable[str], nursery: trio.Nursery, random: Random) -> None:
        self.names = frozenset(names)
        self.random, self._nursery = random, nursery
        self.hubs: dict[str, Hub] = {}  # of the nodes that run
        self._cut: set[Pair] = set()
        self._links: dict[Pair, list[Stream]] = {}
        self._pending: set[Pair] = set()
        self._post = Post()
        nursery.start_soon(self._post.run)

    # ---- what a test does

    def attach(self, name: str) -> Hub:
        """A node runs."""
        self.hubs[name] = Hub(name, self)
        self.look()
        return self.hubs[name]

    def detach(self, name: str) -> None:
        """A node runs no more; who is linked to it notices in a while."""
        self.hubs.pop(name, None)
        for pair in [pair for pair in self._links if name in pair]:
            self._nursery.start_soon(self._notice, pair, self._links[pair])

    def split(self, sides: Iterable[Iterable[str]]) -> None:
        """Nothing passes between the sides; all that was cut before and is within a side is whole again."""
        of = {name: number for number, side in enumerate(sides) for name in side}
        self.cut({frozenset((one, other)) for one in of for other in of if of[one] != of[other]})

    def cut(self, pairs: set[Pair]) -> None:
        """Nothing passes between these pairs, and everything between all others."""
        self._cut = pairs
        for pair, streams in list(self._links.items()):
            if pair in pairs:
                self._nursery.start_soon(self._notice, pair, streams)
            for stream in streams:
                stream._in.move()
                stream._out.move()
        self.look()

    def sides(self) -> list[frozenset[str]]:
        """The nodes that run, by who can reach whom."""
        left, found = set(self.hubs), []
        while left:
            side, edge = set(), [min(left)]
            while edge:
                name = edge.pop()
                side.add(name)
                edge += [other for other in left - side if frozenset((name, other)) not in self._cut]
            found.append(frozenset(side))
            left -= side
        return found

    def parted(self, one: str, other: str) -> bool:
        """Whether nothing passes between two nodes directly."""
        return frozenset((one, other)) in self._cut

    # ---- links

    def linked(self, name: str) -> frozenset[str]:
        return frozenset(other for pair in self._links if name in pair for other in pair if other != name)

    def look(self) -> None:
        """Begin the links that somebody wants and that can be."""
        for one in self.hubs.values():
            for name in sorted(one.wanted):
                pair = frozenset((one.name, name))
                if name in self.hubs and pair not in self._cut | self._links.keys() | self._pending:
                    self._pending.add(pair)
                    self._nursery.start_soon(self._link, pair)

    async def _link(self, pair: Pair) -> None:
        await trio.sleep(self.random.uniform(*LINK_S))
        self._pending.discard(pair)
        if pair not in self._cut and pair <= self.hubs.keys() and pair not in self._links:
            self._links[pair] = []
            self._tell(pair)
            if self.random.random() < TWICE:
                await trio.sleep(self.random.uniform(*TWICE_S))
                self._replace(pair)

    def _replace(self, pair: Pair) -> None:
        """The other's link stays: both ends speak on it from now on."""
        if pair in self._links and pair not in self._cut:
            streams, self._links[pair] = self._links[pair], []
            for near in streams[::2]:
                near.replace(self.random.uniform(*LATE_S))

    async def _notice(self, pair: Pair, streams: list[Stream]) -> None:
        await trio.sleep(self.random.uniform(*IDLE_S))
        if self._links.get(pair) is streams and (pair in self._cut or not pair <= self.hubs.keys()):
            self.lose(pair)

    def lose(self, pair: Pair) -> None:
        """The link breaks, with all that was under way."""
        for stream in self._links.pop(pair, []):
            stream.lose()
        self._tell(pair)
        self.look()

    def restarted(self, name: str) -> None:
        """A node that runs again knows nothing of its old links."""
        for pair in [pair for pair in self._links if name in pair]:
            self.lose(pair)

    def _tell(self, pair: Pair) -> None:
        for name in pair & self.hubs.keys():
            self.hubs[name].changed.set()
            self.hubs[name].changed = trio.Event()

    async def open(self, name: str, peer: str, opening: Sync) -> trio.abc.HalfCloseableStream:
        pair = frozenset((name, peer))
        if pair not in self._links or peer not in self.hubs:
            raise UnreachableError(f"no link to {peer}")

        def stalled() -> bool:
            return pair in self._cut

        there, back = _Pipe(self.random, stalled, self._post), _Pipe(self.random, stalled, self._post)
        near, far = Stream(back, there), Stream(there, back)
        self._links[pair] += [near, far]
        self._nursery.start_soon(self._serve, self.hubs[peer], name, opening, far)
        frames = Frames()
        while (frame := frames.next()) is None:
            try:
                data = await near.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise UnreachableError(f"no link to {peer}")
            frames.feed(data)
        assert isinstance(ANSWER.decode(frame), Opened)
        near.first = frames.rest()
        return near

    async def _serve(self, hub: Hub, name: str, opening: Sync, stream: Stream) -> None:
        try:
            if hub.serve is not None:
                await hub.serve(name, opening, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            stream.lose()
