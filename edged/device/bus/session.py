"""One MQTT connection without I/O: feed bytes and times, take events and bytes. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from edged.device.bus import packets
from edged.device.bus.packets import CONNACK, Message
from edged.errors import ProtocolError

KEEPALIVE_S = 20  # how often the broker is asked whether it is there; given up when the next is due and it has not answered
MAX_INFLIGHT = 64  # publishes that wait for their PUBACK: what a broker on the same machine has under way at full speed
MAX_UNREAD = 4096  # messages that are taken in and not taken on
MAX_FILTERS = 256  # topic filters of one subscription
MAX_MID = (1 << 16) - 1  # 2.3.1


class Welcomed(NamedTuple):
    """The broker took us in."""


class Refused(NamedTuple):
    """The broker did not take us in, and why, in the standard's words."""

    reason: str


class Acknowledged(NamedTuple):
    """A publish of QoS 1 is the broker's now; one of QoS 0 was written."""

    mid: int


class Subscribed(NamedTuple):
    """The answer to a subscription: for each filter whether it was granted."""

    mid: int
    granted: Sequence[bool]


class Lost(NamedTuple):
    """The connection is over: we or the broker said goodbye, or it did not answer a ping."""

    reason: str


Event = Message | Welcomed | Refused | Acknowledged | Subscribed | Lost


class MqttSession:
    """One connection, from its CONNECT on. A new connection needs a new one.

    One of 3.1.1 publishes and hears, and the broker forgets it with its end. One that `listens` publishes nothing, and is of
    MQTT 5: the broker keeps what comes for it while it is away, and has up to MAX_UNREAD messages under way to it. (By 3.1.1
    mosquitto has 20, keeps 1,000 more, and throws away the rest of a burst.) The broker publishes `will` when the connection
    breaks.
    """

    def __init__(self, client_id: str, user: str, password: str, *, listens: bool = False, will: Message | None = None) -> None:
        maximum = MAX_UNREAD if listens else 0
        self._out = [packets.connect(client_id, KEEPALIVE_S, user, password, listens=maximum, will=will)]
        self._listens = listens
        self._unread = bytearray()
        self._welcomed = False
        self._last_mid = 0
        self._publishes: set[int] = set()  # numbers of those that wait for a PUBACK, or to be written
        self._subscriptions: dict[int, int] = {}  # of those that wait for a SUBACK, and how many filters they have
        self._when_written: list[Event] = []
        self._written: list[Event] = []
        self._ping_at: float | None = None
        self._pinged = False

    def receive(self, data: bytes | bytearray) -> list[Event]:
        """What came in. ProtocolError when it is no MQTT, or too large a packet; the connection is of no use then."""
        self._unread += data
        return [event for first, body in packets.cut(self._unread) if (event := self._take(first, body)) is not None]

    def _take(self, first: int, body: bytes) -> Event | None:
        kind = first & 0xF0
        if (kind == CONNACK) is self._welcomed:
            raise ProtocolError(f"the broker sends what is no MQTT: a packet of type {kind >> 4} at this time")
        match kind:
            case packets.PUBLISH:
                message, mid = packets.published(first, body, five=self._listens)
                if mid is not None:
                    self._out.append(packets.puback(mid))
                return message
            case packets.PUBACK:
                mid = packets.acknowledged(body)
                if mid in self._publishes:
                    self._publishes.remove(mid)
                    return Acknowledged(mid)
            case packets.SUBACK:
                mid, granted = packets.granted(body, five=self._listens)
                if self._subscriptions.pop(mid, 0) != len(granted):
                    raise ProtocolError("the broker answers a subscription that was not made")
                return Subscribed(mid, granted)
            case packets.CONNACK:
                self._welcomed = True
                refusal = packets.refusal(body)
                return Refused(refusal) if refusal else Welcomed()
            case packets.PINGRESP:
                self._pinged = False
            case packets.UNSUBACK:
                pass
            case packets.DISCONNECT:
                return Lost(f"it ends the connection, for the reason {body[0] if body else 0}")
            case _:
                raise ProtocolError(f"the broker sends what is no MQTT: a packet of type {kind >> 4}")
        return None

    def tick(self, now: float) -> list[Event]:
        """Time passed: call at least every KEEPALIVE_S / 4, with a clock in seconds that never goes back."""
        if self._ping_at is not None and now < self._ping_at:
            return []
        if self._pinged:
            return [Lost(f"it answers no ping for {KEEPALIVE_S} s")]
        if self._ping_at is not None and self._welcomed:
            self._out.append(packets.PINGREQ)
            self._pinged = True
        self._ping_at = now + KEEPALIVE_S
        return []

    @property
    def speaks(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self._out)

    def outgoing(self) -> bytes:
        """What is to be written now; `written` says what came of it."""
        data = b"".join(self._out)
        self._out.clear()
        self._written += self._when_written
        self._when_written.clear()
        return data

    def written(self) -> list[Event]:
        """What was outgoing is written."""
        events, self._written = self._written, []
        self._publishes.difference_update(event.mid for event in events if isinstance(event, Acknowledged))
        return events

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> int:
        """Publish; the number that `Acknowledged` will name. At most MAX_INFLIGHT may wait. ValueError: no topic."""
        if self._listens or len(self._publishes) >= MAX_INFLIGHT:
            raise AssertionError(f"more than {MAX_INFLIGHT} publishes at a time, or any where we listen")
        mid = self._next_mid()
        self._out.append(packets.publish(topic, payload, mid if qos else None, retain=retain))
        self._publishes.add(mid)
        if not qos:
            self._when_written.append(Acknowledged(mid))
        return mid

    def subscribe(self, filters: Sequence[str], qos: int) -> int:
        """Subscribe to at most MAX_FILTERS; the number that `Subscribed` will name. ValueError: no filter."""
        mid = self._next_mid()
        self._out.append(packets.subscribe(mid, filters[:MAX_FILTERS], qos, five=self._listens))
        self._subscriptions[mid] = len(filters[:MAX_FILTERS])
        return mid

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """End subscriptions. ValueError: no filter."""
        self._out.append(packets.unsubscribe(self._next_mid(), filters, five=self._listens))

    def goodbye(self) -> None:
        """The connection ends as it should: the broker publishes no will, and forgets a session that does not listen."""
        self._out.append(packets.GOODBYE)
        self._when_written.append(Lost("we said goodbye"))

    def _next_mid(self) -> int:
        while True:
            self._last_mid = self._last_mid % MAX_MID + 1
            if self._last_mid not in self._publishes and self._last_mid not in self._subscriptions:
                return self._last_mid
