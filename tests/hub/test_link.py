import heapq
import itertools
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.errors import DeniedError, UnreachableError
from edged.hub.dialogue import Dialler, Doorkeeper
from edged.hub.events import Called, Data, Down, Event, Named, Reset, Stopped, Told, Up
from edged.hub.link import (
    ANSWER_S,
    ANSWERED_S,
    CHECK_S,
    IDLE_S,
    MAX_DATAGRAM,
    MAX_UNREAD,
    MAX_WINDOW,
    PING_S,
    SEND_BUFFER,
    UNANSWERED,
    Link,
)
from edged.hub.packets import destination
from edged.hub.probe import NARROW_SIZE
from edged.hub.quic import MAX_STREAMS
from edged.identity.certificates import Subject
from edged.wire.peer import STREAM_WINDOW, Candidates, Credit


class Net:
    """Two links and a seeded network between them that loses, repeats, delays and reorders, in virtual time."""

    def __init__(
        self, acme: Any, *, seed: int = 0, loss: float = 0.0, twice: float = 0.0, jitter: float = 0.0, **ends: Any
    ) -> None:
        self.random, self.loss, self.twice, self.jitter = Random(seed), loss, twice, jitter
        self.now = 100.0
        self.events: dict[Link, list[Event]] = {}
        self.eager = True  # readers take at once what arrives
        self.cut: set[Link] = set()
        self.got: dict[tuple[Link, int], bytearray] = {}
        self._count = itertools.count()
        self._wire: list[tuple[float, int, Link, bytes]] = []
        client = ends.get("client", acme.identity("gw-a"))
        server = ends.get("server", acme.identity("gw-b"))
        verifier = ends.get("verifier", acme.verifier)
        admit: Callable[[Subject], None] = ends.get("admit", lambda _subject: None)
        name = ends.get("name", "gw-b")
        dialler = Dialler(name, identity=client, verifier=verifier, wall=time.time)
        keeper = Doorkeeper(identity=server, verifier=acme.verifier, wall=time.time, token=self.random.randbytes, admit=admit)
        self.a = Link.dial(client, dialler, name, self.now, narrow=ends.get("narrow", False))
        self.events[self.a] = []
        first = self.a.outgoing(self.now)
        self.b = Link.accept(server, keeper, destination(first[0]).connection_id, self.now)
        self.events[self.b] = []
        for data in first:
            self._post(self.b, data)

    def other(self, link: Link) -> Link:
        return self.b if link is self.a else self.a

    def _post(self, to: Link, data: bytes) -> None:
        assert len(data) <= MAX_DATAGRAM
        for _ in range(1 + (self.random.random() < self.twice)):
            if self.random.random() >= self.loss and self.other(to) not in self.cut:
                delay = 0.005 + self.random.random() * self.jitter
                heapq.heappush(self._wire, (self.now + delay, next(self._count), to, data))

    def flush(self) -> None:
        for link in (self.a, self.b):
            for data in link.outgoing(self.now):
                self._post(self.other(link), data)

    def _took(self, link: Link, events: list[Event]) -> None:
        self.events[link] += events
        for event in events:
            if isinstance(event, Data):
                data = b"".join(event.pieces)
                self.got.setdefault((link, event.stream), bytearray()).extend(data)
                if self.eager:
                    link.consumed(event.stream, len(data))

    def run(self, until: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Until it is so; fails when it is not after that much virtual time."""
        self.flush()
        end = self.now + seconds
        while not until():
            due = min(self.a.deadline(), self.b.deadline(), self._wire[0][0] if self._wire else end)
            self.now = max(self.now, due)
            assert self.now < end, f"not within {seconds} s: {self.events}"
            while self._wire and self._wire[0][0] <= self.now:
                _, _, to, data = heapq.heappop(self._wire)
                self._took(to, to.receive(data, len(data), self.now))
            for link in (self.a, self.b):
                if link.deadline() <= self.now:
                    self._took(link, link.tick(self.now))
            self.flush()

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            due = min(self.a.deadline(), self.b.deadline(), self._wire[0][0] if self._wire else end, end)
            self.now = max(self.now, due)
            self.run(lambda: not self._wire or self._wire[0][0] > self.now)
            for link in (self.a, self.b):
                if link.deadline() <= self.now:
                    self._took(link, link.tick(self.now))
            self.flush()

    def saw(self, link: Link, kind: type[Any]) -> list[Any]:
        return [event for event in self.events[link] if isinstance(event, kind)]

    def up(self) -> "Net":
        self.run(lambda: bool(self.saw(self.a, Up) and self.saw(self.b, Up)))
        return self


def write(net: Net, link: Link, stream: int, data: bytes, *, end: bool = True, seconds: float = 120.0) -> None:
    """Send all of `data`, waiting for room as a writer does."""
    rest = memoryview(data)
    while rest:
        net.run(lambda: link.room(stream) > 0, seconds=seconds)
        piece = rest[: link.room(stream)]
        link.send(stream, piece)
        rest = rest[len(piece) :]
        net.flush()
    if end:
        link.send(stream, b"", end=True)
        net.flush()


def ended(net: Net, link: Link, stream: int) -> bool:
    return any(event.stream == stream and event.end for event in net.saw(link, Data))


def test_both_ends_are_proved_and_share_a_key(acme: Any) -> None:
    net = Net(acme).up()
    (mine,), (theirs,) = net.saw(net.a, Up), net.saw(net.b, Up)
    assert (mine.peer, theirs.peer) == ("gw-b", "gw-a")
    assert mine.probe_key == theirs.probe_key
    assert len(mine.probe_key) == 32
    assert (net.a.peer, net.b.peer) == ("gw-b", "gw-a")
    assert net.a.dialled
    assert not net.b.dialled
    assert net.saw(net.b, Named)
    assert net.now - 100.0 < 0.1


def test_a_narrow_link_sends_no_large_datagrams_either_way(acme: Any) -> None:
    net = Net(acme, narrow=True)
    sizes: dict[Link, int] = {net.a: 0, net.b: 0}
    post = net._post

    def posted(to: Link, data: bytes) -> None:
        sizes[net.other(to)] = max(sizes[net.other(to)], len(data))
        post(to, data)

    net._post = posted  # type: ignore[method-assign]
    net.up()
    stream = net.a.open()
    write(net, net.a, stream, bytes(100_000))
    net.run(lambda: ended(net, net.b, stream))
    write(net, net.b, stream, bytes(100_000))
    net.run(lambda: ended(net, net.a, stream))
    assert NARROW_SIZE - 50 < min(sizes.values()) <= max(sizes.values()) <= NARROW_SIZE


def test_bytes_go_both_ways_and_each_way_ends_by_itself(acme: Any) -> None:
    net = Net(acme).up()
    stream = net.a.open()
    write(net, net.a, stream, b"question")
    net.run(lambda: ended(net, net.b, stream))
    assert net.got[net.b, stream] == b"question"
    write(net, net.b, stream, b"answer", end=False)
    write(net, net.b, stream, b" and more")
    net.run(lambda: ended(net, net.a, stream))
    assert net.got[net.a, stream] == b"answer and more"
    net.run(lambda: net.a.streams == net.b.streams == 0)
    back = net.b.open()
    write(net, net.b, back, b"the server opens streams too")
    net.run(lambda: ended(net, net.a, back))
    assert [event.first for event in net.saw(net.a, Data) if event.stream == back][:1] == [True]


@pytest.mark.parametrize("seed", range(6))
def test_bytes_arrive_exact_through_a_bad_network(acme: Any, seed: int) -> None:
    net = Net(acme, seed=seed, loss=0.1, twice=0.05, jitter=0.03).up()
    data = Random(seed).randbytes(300_000)
    stream = net.a.open()
    write(net, net.a, stream, data)
    net.run(lambda: ended(net, net.b, stream), seconds=120)
    assert net.got[net.b, stream] == data
    assert not net.saw(net.a, Down)
    assert not net.saw(net.b, Down)


def test_an_unread_stream_stalls_alone(acme: Any) -> None:
    net = Net(acme).up()
    net.eager = False
    slow, quick = net.a.open(), net.a.open()
    sent = 0
    while (room := net.a.room(slow)) > 0:
        net.a.send(slow, bytes(room))
        sent += room
        net.wait(0.5)
    assert sent == STREAM_WINDOW
    assert len(net.got[net.b, slow]) == STREAM_WINDOW
    write(net, net.a, quick, b"not stalled")
    net.run(lambda: ended(net, net.b, quick))
    assert net.b.consumed(slow, STREAM_WINDOW // 2)
    net.run(lambda: net.a.room(slow) > 0)
    assert net.a.room(slow) <= SEND_BUFFER


def test_the_window_of_a_stream_grows_as_it_is_read_and_shrinks_as_they_become_many(acme: Any) -> None:
    net = Net(acme).up()
    net.eager = False
    busy = net.a.open()
    sending = net.a._flows[busy]

    def pour(rounds: int) -> int:
        """Read all there is, and again; how much may be unread then."""
        for _ in range(rounds):
            while sending.sent < sending.allowed:
                net.a.send(busy, bytes(max(net.a.room(busy), 0)))
                net.wait(0.1)
            net.run(lambda: busy in net.b._flows and net.b._flows[busy].received == sending.sent)
            net.b.consumed(busy, sending.sent - net.b._flows[busy].consumed)
            net.run(lambda: sending.allowed > sending.sent)
        return sending.allowed - sending.sent

    assert pour(8) == MAX_WINDOW
    many = [net.a.open() for _ in range(4 * MAX_UNREAD // MAX_WINDOW)]
    write(net, net.a, many[-1], b"opens them all")
    net.run(lambda: ended(net, net.b, many[-1]))
    assert pour(2) < MAX_WINDOW // 2


def test_an_acknowledgement_travels_with_the_answer(acme: Any) -> None:
    net = Net(acme).up()
    net.wait(0.2)
    stream = net.a.open()
    net.a.send(stream, b"question")
    (question,) = net.a.outgoing(net.now)
    net.b.receive(question, len(question), net.now)
    assert not net.b.due
    assert net.b.deadline() <= net.now + 0.0011 + ANSWERED_S
    net.b.send(stream, b"answer")
    assert net.b.due
    (answer,) = net.b.outgoing(net.now)
    assert not net.b.due
    net.a.receive(answer, len(answer), net.now)
    assert not net.a.due
    late = net.a.deadline()
    assert late <= net.now + 0.0011 + ANSWERED_S
    net.a.tick(late)  # nothing was said to that: now it is to be acknowledged
    assert net.a.due
    assert net.a.outgoing(late)


def test_who_sends_much_is_not_kept_waiting(acme: Any) -> None:
    net = Net(acme).up()
    net.wait(0.2)
    stream = net.a.open()
    net.a.send(stream, bytes(UNANSWERED))
    datagrams = net.a.outgoing(net.now)
    for data in datagrams:
        net.b.receive(data, len(data), net.now)
    assert len(datagrams) > 2
    assert net.b.due
    assert net.b.outgoing(net.now)


def test_who_overruns_its_credit_is_cut_off(acme: Any) -> None:
    net = Net(acme).up()
    net.eager = False
    stream = net.a.open()
    net.a._flows[stream].allowed = 2 * STREAM_WINDOW
    with pytest.raises(AssertionError):
        write(net, net.a, stream, bytes(STREAM_WINDOW + 1), seconds=20)
        net.run(lambda: False, seconds=20)
    (down,) = net.saw(net.b, Down)
    assert "credit" in down.reason
    assert "credit" in net.saw(net.a, Down)[0].reason


def test_resetting_and_stopping(acme: Any) -> None:
    net = Net(acme).up()
    one, two = net.a.open(), net.a.open()
    for stream in (one, two):
        write(net, net.a, stream, b"begun", end=False)
    net.run(lambda: (net.b, two) in net.got and (net.b, one) in net.got)
    net.a.reset(one)
    net.b.stop(two)
    net.run(lambda: bool(net.saw(net.b, Reset) and net.saw(net.a, Stopped)))
    assert net.saw(net.b, Reset) == [Reset(one)]
    assert net.saw(net.a, Stopped) == [Stopped(two)]
    assert net.a.room(one) == net.a.room(two) == 0
    for link in (net.a, net.b):  # all of it again, in any order, harms nobody
        for stream in (one, two, 4000):
            link.reset(stream)
            link.stop(stream)
            link.send(stream, b"x", end=True)
            assert not link.consumed(stream, 1)
    net.wait(1.0)
    assert net.a.streams == net.b.streams == 0
    assert not net.saw(net.a, Down)


def test_a_stream_that_is_reset_before_its_first_byte(acme: Any) -> None:
    net = Net(acme).up()
    for _ in range(120):
        stream = net.a.open()
        net.a.reset(stream)
        net.a.stop(stream)
        net.wait(0.05)
    assert net.a.streams == net.b.streams == 0


def all_ended(net: Net, link: Link, streams: list[int]) -> bool:
    return all(ended(net, link, stream) for stream in streams)


def unused(link: Link) -> bool:
    return link.streams == 0


def test_many_streams_at_a_time(acme: Any) -> None:
    net = Net(acme).up()
    for link in (net.a, net.b):
        streams = []
        with pytest.raises(UnreachableError, match="no more streams"):
            while True:
                streams.append(link.open())
        assert len(streams) in (MAX_STREAMS - 1, MAX_STREAMS)
        for stream in streams:
            link.send(stream, b"x", end=True)
        other = net.other(link)
        net.run(partial(all_ended, net, other, streams))
        for stream in streams:
            other.send(stream, b"", end=True)
        net.run(partial(unused, link))
        net.wait(0.2)
        link.reset(link.open())


def test_candidates_are_told(acme: Any) -> None:
    net = Net(acme).up()
    net.b.tell(Candidates(["192.0.2.1:7400"]))
    net.run(lambda: bool(net.saw(net.a, Told)))
    assert net.saw(net.a, Told) == [Told(["192.0.2.1:7400"], wanted=True)]


def test_a_call_counts_when_it_is_for_all_that_was_told(acme: Any) -> None:
    net = Net(acme).up()
    net.b.tell(Candidates(["192.0.2.1:7400"]))
    net.run(lambda: bool(net.saw(net.a, Told)))
    net.a.call()
    net.run(lambda: bool(net.saw(net.b, Called)))
    net.b.tell(Candidates(["192.0.2.2:7400"]))
    net.a.call()  # it has not heard of the second address, and opened nothing for it
    net.wait(1.0)
    assert len(net.saw(net.b, Called)) == 1
    net.a.call()
    net.run(lambda: len(net.saw(net.b, Called)) == 2)


def test_a_link_says_whether_it_waits_for_the_peer_and_what_it_carried(acme: Any) -> None:
    net = Net(acme).up()
    net.wait(0.5)
    assert not net.a.awaiting
    assert net.a.carried == net.b.carried == 0
    stream = net.a.open()
    net.a.send(stream, b"question")
    net.flush()
    assert net.a.awaiting
    net.wait(0.5)
    assert not net.a.awaiting
    assert net.a.carried == net.b.carried == len(b"question")


@pytest.mark.parametrize("hurried", [True, False])
def test_a_link_in_a_hurry_does_not_wait_for_its_timers(acme: Any, hurried: bool) -> None:
    net = Net(acme).up()
    stream = net.a.open()
    net.a.send(stream, bytes(net.a.room(stream)))
    net.wait(0.02)
    net.cut |= {net.a, net.b}
    assert not net.a.stalled
    net.wait(2.0)
    assert net.a.stalled
    net.cut.clear()
    if hurried:
        net.a.hurry(net.now)
    began, got = net.now, len(net.got.get((net.b, stream), b""))
    net.run(lambda: len(net.got.get((net.b, stream), b"")) >= got + 50_000)
    assert (net.now - began < 0.2) == hurried
    assert not net.a.stalled
    net.a.close("over")
    net.a.hurry(net.now)


def test_a_quiet_link_stays_and_is_measured(acme: Any) -> None:
    net = Net(acme).up()
    sent = net.a.bytes_sent
    net.wait(10 * IDLE_S)
    assert not net.saw(net.a, Down)
    assert net.a.rtt is not None
    assert 0.01 <= net.a.rtt < 0.05
    assert net.a.bytes_sent - sent < 10 * IDLE_S / PING_S * 200


def test_a_silent_peer_is_gone_after_the_idle_timeout(acme: Any) -> None:
    net = Net(acme).up()
    net.cut.add(net.b)
    began = net.now
    net.run(lambda: bool(net.saw(net.a, Down)), seconds=20)
    assert net.now - began <= IDLE_S + PING_S
    assert net.a.deadline() == float("inf")
    assert net.a.receive(bytes(100), 100, net.now) == net.a.tick(net.now) == []


def test_a_link_that_is_over_is_not_pinged(acme: Any) -> None:
    """The moment of the idle timeout is a ping's, too: where the process did not run meanwhile, or by chance."""
    net = Net(acme).up()
    late = net.now + 2 * IDLE_S
    assert net.a.tick(late) == [Down("Idle timeout")]
    net.b.hurry(late)
    assert net.b.tick(late) == [Down("Idle timeout")]
    net.b.hurry(late)


def test_an_answer_that_seems_older_than_its_question_is_taken(acme: Any) -> None:
    """All that is read in a turn of the loop has the time of its beginning; meanwhile more may be sent, and answered."""
    net = Net(acme).up()
    stream = net.a.open()
    net.a.send(stream, bytes(10_000))
    asked = net.a.outgoing(net.now)
    for data in asked:
        net.b.receive(data, len(data), net.now)
    net.b.send(stream, b"the acknowledgements go with this")
    for data in net.b.outgoing(net.now):
        assert not any(isinstance(event, Down) for event in net.a.receive(data, len(data), net.now - 0.001))
    assert not net.a.awaiting, "it was acknowledged"


def test_a_check_tells_a_restarted_peer_from_one_behind_a_bad_network(acme: Any) -> None:
    net = Net(acme, seed=5, loss=0.2).up()
    net.a.check(net.now)
    net.wait(CHECK_S * 2)
    assert not net.saw(net.a, Down)
    net.cut.add(net.b)
    net.a.check(net.now)
    began = net.now
    net.run(lambda: bool(net.saw(net.a, Down)))
    assert net.now - began == pytest.approx(CHECK_S)


def test_closing_tells_why(acme: Any) -> None:
    net = Net(acme).up()
    net.a.close("enough")
    net.run(lambda: bool(net.saw(net.b, Down)))
    assert net.saw(net.b, Down) == [Down("enough")]
    assert net.a.tick(net.now) == []
    with pytest.raises(UnreachableError):
        net.b.open()
    net.b.send(4, b"x")
    net.b.reset(4)
    net.b.tell(Credit(4, 1))


def lost(net: Net) -> tuple[str, str]:
    net.run(lambda: bool(net.saw(net.a, Down) and net.saw(net.b, Down)), seconds=5)
    return net.saw(net.a, Down)[0].reason, net.saw(net.b, Down)[0].reason


def refused(net: Net) -> tuple[str, str]:
    reasons = lost(net)
    assert not net.saw(net.a, Up)
    assert not net.saw(net.b, Up)
    return reasons


def test_the_wrong_ones_are_refused(acme: Any, evil: Any) -> None:
    assert "issuer" in refused(Net(acme, server=evil.identity("gw-b")))[0]
    assert "unacceptable" in refused(Net(acme, server=acme.identity("gw-c")))[0]
    dialled = "answered where node gw-b was dialled"
    assert dialled in refused(Net(acme, server=acme.identity("gw-b", "yard")))[0]
    assert dialled in refused(Net(acme, client=acme.identity("gw-a", "yard"), server=acme.identity("gw-b")))[0]

    def full(_subject: Subject) -> None:
        raise DeniedError("no room at the inn")

    assert refused(Net(acme, admit=full)) == ("no room at the inn", "no room at the inn")


def test_a_client_that_never_proves_itself_is_given_up(acme: Any) -> None:
    net = Net(acme)
    net.a._dialogue.begin = lambda _certificate: []  # type: ignore[method-assign]
    began = net.now
    net.run(lambda: bool(net.saw(net.b, Down)), seconds=20)
    assert net.now - began <= ANSWER_S + 0.1
    assert "not authenticated" in net.saw(net.b, Down)[0].reason


def test_no_stream_before_the_proof(acme: Any) -> None:
    net = Net(acme)
    net.a._dialogue.begin = lambda _certificate: []  # type: ignore[method-assign]
    net.a._quic.send_stream_data(0, b"")
    net.a._quic.send_stream_data(4, b"let me in")
    net.run(lambda: bool(net.saw(net.b, Down)), seconds=20)
    assert "before the link is authenticated" in net.saw(net.b, Down)[0].reason


def test_misuse_of_the_control_stream_ends_the_link(acme: Any) -> None:
    misuses: list[Callable[[Net], None]] = [
        lambda net: net.a._quic.send_stream_data(0, b"\x00\x00\x00\x01\xff"),
        lambda net: net.a._quic.send_stream_data(0, b"\xff\xff\xff\xff"),
        lambda net: net.a._quic.send_stream_data(0, b"", True),
        lambda net: net.a._quic.reset_stream(0, 0),
        lambda net: net.b._quic.send_stream_data(0, b"", True),
        lambda net: net.a._quic.send_stream_data(2, b"one way"),
    ]
    for misuse in misuses:
        net = Net(acme).up()
        misuse(net)
        assert all(lost(net))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_damaged_datagrams_never_raise(acme: Any, seed: int) -> None:
    net = Net(acme, seed=seed)
    random = Random(seed)
    post = net._post

    def damage(to: Link, data: bytes) -> None:
        post(to, data)
        bad = bytearray(data)
        for _ in range(random.randint(1, 8)):
            bad[random.randrange(len(bad))] = random.randrange(256)
        for piece in (
            bytes(bad),
            bytes(bad[: random.randrange(1, len(bad))]),
            random.randbytes(random.randrange(1, 1400)),
            data + bytes(bad),
        ):
            net._took(to, to.receive(piece, random.choice([len(piece), 100, 1350]), net.now))

    net._post = damage  # type: ignore[method-assign]
    net.run(lambda: bool(net.saw(net.a, Up) or net.saw(net.a, Down)), seconds=30)  # hypothesis prints the seed
