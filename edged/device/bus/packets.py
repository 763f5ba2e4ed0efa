"""The packets that an MQTT client sends and takes, QoS 2 aside: of 3.1.1, and of 5 for a client that listens (OASIS). Pure.

Numbers in brackets are sections of the standards, which are the same but for `properties` (5: 2.2.2): none are looked at.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edged.errors import ProtocolError

MAX_PACKET = 1 << 20  # bytes of a packet that is taken in; a twin is far smaller, and what is larger would fill the memory
MAX_SENT = (1 << 28) - 1  # bytes of a packet after its length (2.2.3)
MAX_TEXT = (1 << 16) - 1  # bytes of a text (1.5.3)
CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xB0, 0xD0, 0xE0
PINGREQ, GOODBYE = b"\xc0\x00", b"\xe0\x00"
REFUSED = 0x80  # from here on, codes say that the broker does not do what was asked (3.9.3; 5: 2.4)
_REFUSALS = {  # 3.2.2.3, and those of 5 (3.2.2.2)
    **{1: "Unsupported protocol version", 2: "Client identifier not valid", 3: "Server unavailable"},
    **{4: "Bad user name or password", 5: "Not authorized"},
    **{0x84: "Unsupported protocol version", 0x85: "Client identifier not valid", 0x86: "Bad user name or password"},
    **{0x87: "Not authorized", 0x88: "Server unavailable", 0x89: "Server busy"},
}
_CLEAN, _WILL, _WILL_QOS_1, _PASSWORD, _USER = 0x02, 0x04, 0x08, 0x40, 0x80  # 3.1.2
_RETAIN = 0x01
_NO_PROPERTIES = b"\0"
_KEEP_FOR_EVER = b"\x11\xff\xff\xff\xff"  # the session (5: 3.1.2.11.2), as 3.1.1 does; a broker may have its own limit
_RECEIVE_MAXIMUM = b"\x21"  # 5: 3.1.2.11.3


class Message(NamedTuple):
    """What somebody published."""

    topic: str
    payload: bytes


class Published(NamedTuple):
    """A PUBLISH; `mid` None is QoS 0."""

    message: Message
    mid: int | None


# What is sent


def connect(client_id: str, keepalive_s: int, user: str, password: str, *, listens: int, will: Message | None) -> bytes:
    """CONNECT (3.1). A password needs a user.

    `listens`: of MQTT 5; the session is kept, with so many messages under way to us at a time. 0: 3.1.1, a clean session.
    """
    level, flags, properties = (5, 0, _KEEP_FOR_EVER + _RECEIVE_MAXIMUM + _short(listens)) if listens else (4, _CLEAN, b"")
    fields = [bytes((len(properties),)) + properties if listens else b"", _text(client_id)]
    if will is not None:
        flags |= _WILL | _WILL_QOS_1
        fields += [_NO_PROPERTIES if listens else b"", _text(will.topic), _short(len(will.payload)), will.payload]
    if user:
        flags |= _USER | (_PASSWORD if password else 0)
        fields += [_text(user), *([_text(password)] if password else [])]
    return _packet(0x10, _text("MQTT"), bytes((level, flags)), _short(keepalive_s), *fields)


def publish(topic: str, payload: bytes, mid: int | None, *, retain: bool) -> bytes:
    """PUBLISH (3.3) of 3.1.1; without a `mid` of QoS 0, else of 1. ValueError: nobody can publish to this topic, or so much."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise ValueError(f'"{topic}": expected a topic without wildcards')
    first = PUBLISH | (_RETAIN if retain else 0)
    return _packet(first, _text(topic), payload) if mid is None else _packet(first | 0x02, _text(topic), _short(mid), payload)


def puback(mid: int) -> bytes:
    """PUBACK (3.4)."""
    return _packet(PUBACK, _short(mid))


def subscribe(mid: int, filters: Sequence[str], qos: int, *, five: bool) -> bytes:
    """SUBSCRIBE (3.8). ValueError: no filter, or what is none (4.7.1)."""
    wanted = (_filter(each) + bytes((qos,)) for each in _some(filters))
    return _packet(0x82, _short(mid), _NO_PROPERTIES if five else b"", *wanted)


def unsubscribe(mid: int, filters: Sequence[str], *, five: bool) -> bytes:
    """UNSUBSCRIBE (3.10). ValueError as above."""
    return _packet(0xA2, _short(mid), _NO_PROPERTIES if five else b"", *map(_filter, _some(filters)))


def _packet(first: int, *fields: bytes) -> bytes:
    body = b"".join(fields)
    left = len(body)
    if left > MAX_SENT:
        raise ValueError(f"a packet of {left} bytes; at most {MAX_SENT} can be sent")
    length = bytearray()
    while left > 0x7F:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    length.append(left)
    return bytes((first,)) + length + body


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > MAX_TEXT:
        raise ValueError(f"a text of {len(data)} bytes; at most {MAX_TEXT} can be sent")
    return _short(len(data)) + data


def _short(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _some(filters: Sequence[str]) -> Sequence[str]:
    if not filters:
        raise ValueError("expected at least one filter")
    return filters


def _filter(text: str) -> bytes:
    levels = text.split("/")
    wild = any("#" in each for each in levels[:-1]) or any(len(each) > 1 and ("+" in each or "#" in each) for each in levels)
    if not text or wild or "\0" in text:
        raise ValueError(f'"{text}": expected a filter, whose wildcards are levels of their own, # the last one')
    return _text(text)


# What is taken; each parser takes what follows a packet's length, and raises ProtocolError


def cut(unread: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take whole packets (2.2) from the front of `unread`: the first byte, and what follows the length.

    ProtocolError when one announces more than MAX_PACKET, or no length.
    """
    start, end = 0, len(unread)
    try:
        while True:
            length, at = 0, start + 1
            for shift in (0, 7, 14, 21):
                if at >= end:
                    return
                length |= (unread[at] & 0x7F) << shift
                at += 1
                if unread[at - 1] < REFUSED:
                    break
            else:
                raise ProtocolError("the broker sends a packet of no length")
            if length > MAX_PACKET:
                raise ProtocolError(f"the broker sends a packet of {length} bytes; at most {MAX_PACKET} are taken")
            if at + length > end:
                return
            first, start = unread[start], at + length
            yield first, bytes(unread[at:start])
    finally:
        del unread[:start]


def refusal(body: bytes) -> str:
    """Of a CONNACK (3.2): why the broker refuses us, "" when it does not. One of 3.1.1 refuses an MQTT of 5 in its own way."""
    if len(body) < 2:
        raise _no_mqtt("a CONNACK of another form")
    return _REFUSALS.get(body[1], f"for the reason {body[1]}") if body[1] else ""


def published(first: int, body: bytes, *, five: bool) -> Published:
    """Of a PUBLISH (3.3)."""
    qos = first >> 1 & 0x03
    at = 2 + int.from_bytes(body[:2], "big")
    after = at + 2 if qos else at
    if qos > 1 or len(body) < max(after, 2):
        raise _no_mqtt("a PUBLISH of another form")
    mid = int.from_bytes(body[at:after], "big") if qos else None
    if five:
        after = _after_properties(body, after)
    try:
        topic = body[2:at].decode()
    except UnicodeDecodeError as error:
        raise _no_mqtt("a topic that is no UTF-8") from error
    return Published(Message(topic, body[after:]), mid)


def acknowledged(body: bytes) -> int:
    """Of a PUBACK (3.4) of 3.1.1: the number that it acknowledges."""
    if len(body) != 2:
        raise _no_mqtt("an acknowledgement of another form")
    return int.from_bytes(body, "big")


def granted(body: bytes, *, five: bool) -> tuple[int, list[bool]]:
    """Of a SUBACK (3.9): the number that it answers, and for each filter whether it was granted."""
    if len(body) < 3:
        raise _no_mqtt("a SUBACK of another form")
    after = _after_properties(body, 2) if five else 2
    return int.from_bytes(body[:2], "big"), [code < REFUSED for code in body[after:]]


def _after_properties(body: bytes, at: int) -> int:
    length = 0
    for place, byte in enumerate(body[at : at + 4]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            after = at + place + 1 + length
            if after <= len(body):
                return after
            break
    raise _no_mqtt("properties of no length, or beyond their packet")


def _no_mqtt(why: str) -> ProtocolError:
    return ProtocolError(f"the broker sends what is no MQTT: {why}")
