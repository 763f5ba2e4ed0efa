"""One MQTT connection without I/O (OASIS MQTT 3.1.1): feed bytes, take events and bytes. paho-mqtt speaks, into memory.

Pure but for one thing: paho reads the monotonic clock to know when to ping.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from edged.errors import ProtocolError

KEEPALIVE_S = 20  # a connection without traffic is asked after this, and given up as long after
MAX_INFLIGHT = 64  # publishes that wait for their PUBACK: what a broker on the same machine has under way at full speed
MAX_PACKET = 1 << 20  # bytes of a packet that is taken in; a twin is far smaller, and what is larger would fill the memory
MAX_FILTERS = 256  # topic filters of one subscription
PUBACK, PUBACK_SIZE = 0x40, 4  # a packet's first byte, and its bytes in all (3.4)
REFUSED = 128  # a SUBACK's code for a filter that the broker does not grant (3.9.3)


class Message(NamedTuple):
    """What somebody published."""

    topic: str
    payload: bytes


class Welcomed(NamedTuple):
    """The broker took us in."""


class Refused(NamedTuple):
    """The broker did not take us in, and why, in its words."""

    reason: str


class Acknowledged(NamedTuple):
    """A publish of QoS 1 is the broker's now; one of QoS 0 was written."""

    mid: int


class Subscribed(NamedTuple):
    """The answer to a subscription: for each filter whether it was granted."""

    mid: int
    granted: Sequence[bool]


class Lost(NamedTuple):
    """The connection is over: the broker closed it, or did not answer a ping."""

    reason: str


Event = Message | Welcomed | Refused | Acknowledged | Subscribed | Lost


class MqttSession:
    """One connection, from its CONNECT on. A new connection needs a new one. `clean`: the broker forgets it with its end.

    `will` is published by the broker when the connection breaks.
    """

    def __init__(self, client_id: str, user: str, password: str, *, clean: bool, will: Message | None = None) -> None:
        self._wire = _Memory()
        self._events: list[Event] = []
        self._unread = bytearray()
        self._unasked: list[int] = []  # publishes that nobody acknowledges: they are done when they are written
        self._paho = paho = _Paho(self._wire, client_id, clean)
        paho.max_inflight_messages = MAX_INFLIGHT
        paho.max_queued_messages = MAX_INFLIGHT
        if user:
            paho.username_pw_set(user, password or None)
        if will is not None:
            paho.will_set(will.topic, will.payload, qos=1)
        paho.on_connect = self._on_connect
        paho.on_disconnect = lambda _c, _u, _f, code, _p: self._events.append(Lost(str(code)))
        paho.on_subscribe = self._on_subscribe
        paho.on_message = self._on_message
        paho.connect("memory", keepalive=KEEPALIVE_S)

    def receive(self, data: bytes | bytearray) -> list[Event]:
        """What came in. ProtocolError when it is no MQTT, or too large a packet; the connection is of no use then."""
        self._unread += data
        for packet in _packets(self._unread):
            self._wire.incoming = packet
            if packet[0] == PUBACK and len(packet) == PUBACK_SIZE:  # paho's callback for it takes as long as all else of it
                self._events.append(Acknowledged(int.from_bytes(packet[2:], "big")))
            try:
                code = self._paho.loop_read()
            except (ValueError, LookupError, TypeError, struct.error) as error:
                raise ProtocolError(f"the broker sends what is no MQTT: {error}") from error
            if code == MQTTErrorCode.MQTT_ERR_PROTOCOL:
                raise ProtocolError("the broker sends what is no MQTT")
        return self.happened()

    def tick(self) -> list[Event]:
        """Call at least every KEEPALIVE_S / 4."""
        self._paho.loop_misc()
        return self.happened()

    def outgoing(self) -> bytes:
        """What is to be written now; `happened` says what came of it."""
        while self._paho.want_write() and self._paho.socket() is not None:
            self._paho.loop_write()
        self._events += map(Acknowledged, self._unasked)
        self._unasked.clear()
        data = b"".join(self._wire.outgoing)
        self._wire.outgoing.clear()
        return data

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> int:
        """Publish; the number that `Acknowledged` will name. At most MAX_INFLIGHT may wait. ValueError: no topic."""
        info = self._paho.publish(topic, payload, qos, retain)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise AssertionError(f"more than {MAX_INFLIGHT} publishes at a time")
        if qos == 0:
            self._unasked.append(info.mid)
        return info.mid

    def subscribe(self, filters: Sequence[str], qos: int) -> int:
        """Subscribe to at most MAX_FILTERS; the number that `Subscribed` will name. ValueError: no filter."""
        _, mid = self._paho.subscribe([(each, qos) for each in filters[:MAX_FILTERS]])
        return mid or 0

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """End subscriptions."""
        self._paho.unsubscribe(list(filters))

    def goodbye(self) -> None:
        """The connection ends as it should: the broker publishes no will, and forgets a clean session."""
        self._paho.disconnect()

    def happened(self) -> list[Event]:
        """Events since they were last asked for."""
        events, self._events = self._events, []
        return events

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._events.append(Refused(str(code)) if code.is_failure else Welcomed())

    def _on_subscribe(self, _client: Any, _userdata: Any, mid: int, codes: Sequence[Any], _properties: Any) -> None:
        self._events.append(Subscribed(mid, [code.value < REFUSED for code in codes]))

    def _on_message(self, _client: Any, _userdata: Any, message: MQTTMessage) -> None:
        self._events.append(Message(message.topic, bytes(message.payload)))


def _packets(unread: bytearray) -> Iterator[bytes]:
    """Whole packets (2.2), cut from `unread`. ProtocolError when one announces more than MAX_PACKET, or no length."""
    while True:
        length, shift = 0, 0
        for at in range(1, 5):
            if at >= len(unread):
                return
            length |= (unread[at] & 0x7F) << shift
            shift += 7
            if not unread[at] & 0x80:
                break
        else:
            raise ProtocolError("the broker sends a packet of no length")
        if length > MAX_PACKET:
            raise ProtocolError(f"the broker sends a packet of {length} bytes; at most {MAX_PACKET} are taken")
        if len(unread) <= at + length:
            return
        packet = bytes(unread[: at + 1 + length])
        del unread[: at + 1 + length]
        yield packet


class _Memory:
    """The socket that paho sees."""

    def __init__(self) -> None:
        self.incoming = b""
        self.outgoing: list[bytes] = []

    def recv(self, size: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        return data

    def send(self, data: bytes | bytearray) -> int:
        self.outgoing.append(bytes(data))
        return len(data)

    def setblocking(self, flag: bool) -> None:
        """There is nothing to block on."""

    def close(self) -> None:
        """There is nothing to close."""


class _Paho(Client):
    """paho's client over `wire` in the place of a socket: its one seam for this is not public."""

    def __init__(self, wire: _Memory, client_id: str, clean: bool) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session=clean)
        self._wire = wire

    def _create_socket(self) -> Any:
        return self._wire
