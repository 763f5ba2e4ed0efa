"""A link: one QUIC connection with a proved node at the other end. No I/O: datagrams and `now` in, datagrams and events out.

    receive(data, segment, now)  datagrams came in
    send(stream, data, end=...)  what we want to say (open, reset, stop, consumed, tell, close)
    outgoing(now)                datagrams to send, whatever way
    deadline()                   when to call tick
    tick(now)                    time passed

QUIC sees one constant address: where its datagrams go is the path layer's business. `now` is monotonic, in seconds.
"""

import math
from dataclasses import dataclass

from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnectionError

from edged.errors import DeniedError, ProtocolError, UnreachableError
from edged.hub.dialogue import Dialler, Doorkeeper
from edged.hub.events import Called, Data, Down, Event, Named, Reset, Stopped, Told, Up
from edged.hub.packets import CONNECTION_ID
from edged.hub.probe import NARROW_SIZE, PING_SIZE
from edged.hub.quic import ACK, Quic
from edged.identity.certificates import Subject
from edged.identity.node import Identity
from edged.wire.codec import Frames, framed
from edged.wire.peer import ALPN, CONTROL, MAX_CONTROL, STREAM_WINDOW, Call, Candidates, Control, Credit

FAKE_PEER = ("192.0.2.1", 443)  # of TEST-NET-1 (RFC 5737)
MAX_DATAGRAM = PING_SIZE  # bytes: what probes prove that a path carries
MAX_WINDOW = 4 << 20  # bytes of a stream that may wait unread once it was read from: 80 MB/s at a round trip of 50 ms
MAX_UNREAD = 64 << 20  # bytes of all streams of a link beyond which their windows do not grow
QUIC_WINDOW = 16 << 20  # bytes on the way: above MAX_WINDOW, so that a stream's credit is what limits it
SEND_BUFFER = 1 << 20  # bytes of a stream that wait for the congestion window; a writer waits beyond
IDLE_S = 10.0  # a peer from which nothing came for so long is gone
PING_S = 3.0  # keeps a quiet link alive, and measures it
ANSWER_S = 10.0  # a link that is not authenticated by then is given up
CHECK_S = 1.5  # a peer that may have been restarted has so long to answer a ping
CHECK_PINGS = 5  # in that time: one that is lost decides nothing
MAX_REASON = 200  # bytes of a reason in a close: it must fit one datagram
CONTROL_STREAM = 0  # the client's first
# An acknowledgement waits so much longer than qh3's 1 ms for an answer to travel with. The shorter it is the more often a
# timer runs out for nothing, which costs as much as a datagram; QUIC allows 25 ms, of which our own lateness is a part.
ANSWERED_S = 0.011
UNANSWERED = 2 * MAX_DATAGRAM  # bytes beyond which it does not: the sender may have its window full (RFC 9000, 13.2.2)
STALLED = 4  # timers run out in a row, each twice as long: half a second on a quick path
CLOSED = 0  # our only error code: the reason is what counts


@dataclass(slots=True)
class _Flow:
    """Both directions of a stream. A direction is open until its end was sent or seen, or someone gave it up."""

    sending: bool = True
    receiving: bool = True
    announced: bool = True
    sent: int = 0
    allowed: int = STREAM_WINDOW
    received: int = 0
    consumed: int = 0
    granted: int = STREAM_WINDOW
    window: int = STREAM_WINDOW


def _configuration(identity: Identity, server_name: str | None, size: int = MAX_DATAGRAM) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=server_name is not None,
        alpn_protocols=[ALPN],
        connection_id_length=CONNECTION_ID,
        idle_timeout=IDLE_S,
        max_data=QUIC_WINDOW,
        max_stream_data=QUIC_WINDOW,
        max_datagram_size=size,
        probe_datagram_size=False,  # what one path carries says nothing about the next one
    )
    if server_name is None:
        configuration.load_cert_chain(identity.certificate_pem, identity.key_pem)
    else:
        configuration.server_name, configuration.cadata = server_name, identity.authority_pem
    return configuration


class Link:
    """See the module. `dialled` says whether we are its client; `peer` is None until it is proved."""

    def __init__(self, quic: Quic, dialogue: Dialler | Doorkeeper, now: float) -> None:
        self._quic, self._dialogue = quic, dialogue
        self._control = Frames(MAX_CONTROL)
        self._flows: dict[int, _Flow] = {}
        self._next_remote = 1 if self.dialled else CONTROL_STREAM + 4  # the lowest stream that the peer has not used yet
        self._events: list[Event] = []
        self._answer_by = now + ANSWER_S
        self._ping_at = math.inf
        self._check_by = math.inf
        self._check_ping = 0  # the first ping that answers the check
        self._pings: dict[int, float] = {}
        self._pinged = 0
        self._told = self._heard = 0  # Candidates, by us and by the peer
        self._failed: str | None = None  # why the next tick closes the link
        self._held: list[bytes] = []  # datagrams to send before those that QUIC has now
        self._down = False
        self._unanswered = 0  # bytes that came since we sent last
        self._lingers = False  # whether an acknowledgement of them may wait for an answer: nobody waits for that alone
        self.due = True  # whether `outgoing` may have something that does not wait until `deadline`
        self.rtt: float | None = None
        self.carried = 0  # bytes of streams, both ways
        self.bytes_sent = 0
        self.bytes_received = 0

    @classmethod
    def dial(cls, identity: Identity, dialogue: Dialler, name: str, now: float, *, narrow: bool = False) -> "Link":
        """Begin a link to the node that its certificate calls `name`. A `narrow` one has datagrams of NARROW_SIZE for good."""
        quic = Quic(configuration=_configuration(identity, name, NARROW_SIZE if narrow else MAX_DATAGRAM))
        link = cls(quic, dialogue, now)
        quic.connect(FAKE_PEER, now)
        return link

    @classmethod
    def accept(cls, identity: Identity, dialogue: Doorkeeper, connection_id: bytes, now: float) -> "Link":
        """Answer a client whose first datagram is for `connection_id`; hand it to `receive` next."""
        configuration = _configuration(identity, None)
        return cls(Quic(configuration=configuration, original_destination_connection_id=connection_id), dialogue, now)

    @property
    def dialled(self) -> bool:
        """Whether we are the client."""
        return isinstance(self._dialogue, Dialler)

    @property
    def peer(self) -> str | None:
        """The proved name of the other end."""
        return self._dialogue.peer

    @property
    def subject(self) -> Subject | None:
        """Whom the peer's certificate names; None before it is proved."""
        return self._dialogue.subject if self.peer is not None else None

    @property
    def connection_id(self) -> bytes:
        """The first id by which the peer addresses us; more may be Named."""
        return bytes(self._quic.host_cid)

    @property
    def streams(self) -> int:
        """Streams that are open in at least one direction."""
        return len(self._flows)

    @property
    def awaiting(self) -> bool:
        """Whether something is on the way that the peer will acknowledge."""
        return self._quic.in_flight > 0

    @property
    def stalled(self) -> bool:
        """Whether the peer has acknowledged nothing for several of QUIC's timers, whatever came in its name meanwhile."""
        return self._quic.run_out >= STALLED

    def receive(self, data: bytes, segment: int, now: float) -> list[Event]:
        """Datagrams for this link, `segment` bytes each (the last may be shorter)."""
        if self._down:
            return []
        self.bytes_received += len(data)
        try:
            self._quic.receive_burst(data, segment, FAKE_PEER, now)
        except Exception as error:  # qh3 parses the TLS of strangers and declares no error for it
            self._failed = f"QUIC failed: {error}"
        taken = self._drain(now)
        self._came(taken, len(data))
        return taken

    def _came(self, taken: list[Event], size: int) -> None:
        """Decide, by what came and how much of it, whether we must send now."""
        self._unanswered += size
        self._lingers = self._unanswered <= UNANSWERED and bool(taken) and all(type(event) is Data for event in taken)
        self.due = self.due or not self._lingers

    def tick(self, now: float) -> list[Event]:
        """Time passed: QUIC's timers, keep-alive, deadlines."""
        if self._down:
            return []
        if now >= self._answer_by:
            self._failed = f"not authenticated within {ANSWER_S:.0f} s"
        elif now >= self._check_by:
            self._failed = "the peer does not know this link any more"
        if self._failed is not None:
            self._held = self._poll(now)  # first what is left of the handshake: a close beside it would not fit
            self.close(self._failed)
            return [Down(self._failed)]
        if self._quic.timer[1] <= now:
            self._quic.handle_timer(now)
        if now >= self._ping_at and self._quic.closed is None:  # else it has ended just now, and takes nothing
            self._ping(now)
        self.due = True
        return self._drain(now)

    def deadline(self) -> float:
        """When to call tick, at the latest."""
        if self._down:
            return math.inf
        if self._failed is not None:
            return -math.inf
        timer, due = self._quic.timer
        if timer == ACK and self._lingers:
            due += ANSWERED_S
        return min(due, self._ping_at, self._answer_by, self._check_by)

    def outgoing(self, now: float) -> list[bytes]:
        """Datagrams to send now."""
        held, self._held = self._held, []
        datagrams = held + self._poll(now)
        self.due = self._quic.unsent() > 0  # then each acknowledgement may make room
        self._unanswered = 0
        self.bytes_sent += sum(map(len, datagrams))
        return datagrams

    def open(self) -> int:
        """A new stream's id. UnreachableError when the peer allows no more at a time."""
        stream: int = self._quic.get_next_available_stream_id()
        if self._down or stream // 4 >= self._quic.max_concurrent_bidi_streams:
            raise UnreachableError(f"the link to {self.peer} carries no more streams: {len(self._flows)} are open")
        self._quic.send_stream_data(stream, b"")  # takes the id
        self._flows[stream] = _Flow()
        return stream

    def room(self, stream: int) -> int:
        """Bytes that may be sent on the stream now; 0 or less means wait."""
        flow = self._flows.get(stream)
        if flow is None or not flow.sending:
            return 0
        return min(flow.allowed - flow.sent, SEND_BUFFER - self.waiting(stream))

    def waiting(self, stream: int) -> int:
        """Bytes of the stream that were not sent yet."""
        return self._quic.unsent(stream)

    def send(self, stream: int, data: bytes | bytearray | memoryview, *, end: bool = False, waits: bool = False) -> None:
        """Queue bytes, at most `room`, and the end of our direction; what `waits` goes with what leaves next."""
        flow = self._flows.get(stream)
        if flow is None or not flow.sending or self._down:
            return
        self.due = self.due or not waits
        flow.sent += len(data)
        self.carried += len(data)
        self._quic.send(stream, data, end=end)
        if end:
            flow.sending = False
            self._forget(stream, flow)

    def consumed(self, stream: int, length: int) -> bool:
        """The reader took bytes: the peer may send as many more. Whether there is something to send because of it."""
        flow = self._flows.get(stream)
        if flow is None or not flow.receiving or self._down:
            return False
        flow.consumed += length
        if flow.consumed + flow.window - flow.granted < flow.window // 4:
            return False  # a credit for each read would cost more than the reading
        window = max(STREAM_WINDOW, min(2 * flow.window, MAX_WINDOW, MAX_UNREAD // len(self._flows)))
        if flow.consumed + window <= flow.granted:
            return False
        flow.window, flow.granted = window, flow.consumed + window
        self.tell(Credit(stream, flow.granted))
        return True

    def reset(self, stream: int) -> None:
        """Give up sending: the peer's reader gets an error, never a silently cut stream."""
        flow = self._flows.get(stream)
        if flow is not None and flow.sending and not self._down:
            flow.sending, self.due = False, True
            self._quic.reset_stream(stream, CLOSED)
            self._forget(stream, flow)

    def stop(self, stream: int) -> None:
        """Read no more: what still comes is dropped, and the peer's writer gets an error."""
        flow = self._flows.get(stream)
        if flow is not None and flow.receiving and not self._down:
            flow.receiving, self.due = False, True
            self._quic.stop_stream(stream, CLOSED)
            self._forget(stream, flow)

    def tell(self, message: Control) -> None:
        """Say something on the control stream."""
        if not self._down:
            self._told += isinstance(message, Candidates)
            self.due = True
            self._quic.send_stream_data(CONTROL_STREAM, framed(CONTROL.encode(message)))

    def call(self, ports: int = 0) -> None:
        """Have the peer ping us: our NATs are open for all addresses that it told, a hard one at so many ports."""
        self.tell(Call(self._heard, ports))

    def check(self, now: float) -> None:
        """The peer may have been restarted: it answers a ping soon, or the link is down."""
        if self.peer is not None and not self._down:
            self._check_by = min(self._check_by, now + CHECK_S)
            self._check_ping = self._pinged + 1
            self._ping(now)

    def hurry(self, now: float) -> None:
        """What was sent last may be lost: ask for it now, and not when QUIC's timer says so, which was backed off meanwhile.

        QUIC knows no change of path. A ping leaves at once, and by its acknowledgement QUIC learns what is lost.
        """
        if self.peer is not None and not self._down:
            self._ping(now)

    def close(self, reason: str) -> None:
        """End the link; `outgoing` has the datagram that tells the peer why. No event follows."""
        if not self._down:
            self._down = True
            text = reason.encode()[:MAX_REASON].decode(errors="ignore")
            self._quic.close(error_code=CLOSED, reason_phrase=text)

    def _poll(self, now: float) -> list[bytes]:
        try:
            return self._quic.transmit(now)
        except QuicConnectionError as error:
            self._failed = f"QUIC failed: {error.reason_phrase}"
            return []

    def _ping(self, now: float) -> None:
        self._ping_at = now + (PING_S if self._check_by == math.inf else CHECK_S / CHECK_PINGS)
        self._pinged += 1
        self._pings = {uid: at for uid, at in self._pings.items() if at > now - IDLE_S}
        self._pings[self._pinged] = now
        self._quic.send_ping(self._pinged)

    def _drain(self, now: float) -> list[Event]:
        arrived: dict[int, Data] = {}
        while self._failed is None and (event := self._quic.next_event()) is not None:
            try:
                self._take(event, arrived, now)
            except (DeniedError, ProtocolError, QuicConnectionError) as error:  # QUIC's: it has ended, and takes no answer
                self._failed = str(error)
        closed = self._quic.closed
        if closed is not None and not self._down:
            self._down = True
            self._events.append(Down(closed.reason_phrase or f"QUIC error {closed.error_code}"))
        taken, self._events = self._events, []
        return taken

    def _take(self, event: events.QuicEvent, arrived: dict[int, Data], now: float) -> None:
        if isinstance(event, events.StreamDataReceived):
            if event.stream_id == CONTROL_STREAM and not event.end_stream:
                self._hear(event.data, now)
            else:
                self._arrive(event.stream_id, event.data, event.end_stream, arrived)
        elif isinstance(event, events.PingAcknowledged):
            sent = self._pings.pop(event.uid, None)
            if sent is not None:
                self.rtt = now - sent
            if event.uid >= self._check_ping:
                self._check_by = math.inf
        elif isinstance(event, events.StreamReset):
            self._was_reset(event.stream_id)
        elif isinstance(event, events.StopSendingReceived):
            self._was_stopped(event.stream_id)
        elif isinstance(event, events.HandshakeCompleted):
            self._handshaken()
        elif isinstance(event, events.ConnectionIdIssued):
            self._events.append(Named(event.connection_id, added=True))
        elif isinstance(event, events.ConnectionIdRetired):
            self._events.append(Named(event.connection_id, added=False))

    def _handshaken(self) -> None:
        certificate = self._quic.get_peercert()
        for message in self._dialogue.begin(certificate.public_bytes() if certificate is not None else b""):
            self.tell(message)

    def _hear(self, data: bytes, now: float) -> None:
        self._control.feed(data)
        while (frame := self._control.next()) is not None:
            message = CONTROL.decode(frame)
            if self.peer is None:
                self._introduce(message, now)
            elif isinstance(message, Credit):
                flow = self._flows.get(message.stream)
                if flow is not None:
                    flow.allowed = max(flow.allowed, message.upto)
            elif isinstance(message, Call):
                if message.heard == self._told:
                    self._events.append(Called(message.ports))
            elif isinstance(message, Candidates):
                self._heard += 1
                self._events.append(Told(message.addresses, message.wanted))
            else:
                raise ProtocolError(f"{type(message).__name__} out of turn")

    def _introduce(self, message: Control, now: float) -> None:
        for answer in self._dialogue.receive(message):
            self.tell(answer)
        if self.peer is not None:
            self._answer_by = math.inf
            self._events.append(Up(self.peer, self._dialogue.probe_key))
            self._ping(now)

    def _arrive(self, stream: int, data: bytes, end: bool, arrived: dict[int, Data]) -> None:
        if self.peer is None:
            raise ProtocolError("a stream before the link is authenticated")
        flow = self._flow(stream)
        if flow is None or not flow.receiving:
            return  # late bytes of a stream that nobody reads any more
        flow.received += len(data)
        self.carried += len(data)
        if flow.received > flow.granted:
            raise ProtocolError(f"stream {stream} overran its credit")
        batch = arrived.get(stream)
        if batch is None:
            batch = arrived[stream] = Data(stream, first=not flow.announced)
            flow.announced = True
            self._events.append(batch)
        if data:
            batch.pieces.append(data)
        if end:
            batch.end, flow.receiving = True, False
            self._forget(stream, flow)

    def _flow(self, stream: int) -> _Flow | None:
        """The flow of a stream that the peer names; those it opened come to be here, in order of their ids."""
        if stream & 2 or stream == CONTROL_STREAM:
            raise ProtocolError("a stream of one direction, or the end of the control stream")
        if bool(stream & 1) == self.dialled:
            while self._next_remote <= stream:
                self._flows[self._next_remote] = _Flow(announced=False)
                self._next_remote += 4
        return self._flows.get(stream)

    def _was_reset(self, stream: int) -> None:
        flow = self._flow(stream)
        if flow is not None and flow.receiving:
            flow.receiving = False
            self._events.append(Reset(stream))
            if not flow.announced:
                self.reset(stream)
            self._forget(stream, flow)

    def _was_stopped(self, stream: int) -> None:
        flow = self._flow(stream)
        if flow is not None and flow.sending:
            flow.sending = False
            self._events.append(Stopped(stream))
            self._forget(stream, flow)

    def _forget(self, stream: int, flow: _Flow) -> None:
        if not flow.sending and not flow.receiving:
            self._flows.pop(stream, None)
