import random
import struct

import pytest

from edged.device.bus.packets import MAX_PACKET, Message
from edged.device.bus.session import (
    KEEPALIVE_S,
    MAX_INFLIGHT,
    MAX_UNREAD,
    Acknowledged,
    Lost,
    MqttSession,
    Refused,
    Subscribed,
    Welcomed,
)
from edged.errors import ProtocolError

CONNACK = b"\x20\x02\x00\x00"


def session(user: str = "", password: str = "") -> MqttSession:
    return MqttSession("gw-a", user, password)


def welcome() -> MqttSession:
    made = session()
    made.outgoing()
    assert made.receive(CONNACK) == [Welcomed()]
    return made


def publish(topic: str, payload: bytes) -> bytes:
    body = struct.pack("!H", len(topic)) + topic.encode() + payload
    assert len(body) < 128
    return bytes([0x30, len(body)]) + body


def test_it_introduces_itself() -> None:
    sent = session("anna", "secret").outgoing()
    assert sent[0] == 0x10
    assert sent[4:9] == b"MQTT\x04"
    assert sent.endswith(b"\0\4gw-a\0\4anna\0\6secret")


@pytest.mark.parametrize("code", [5, 0x87])
def test_a_refusal_has_its_reason(code: int) -> None:
    assert session().receive(bytes((0x20, 2, 0, code))) == [Refused("Not authorized")]
    assert session().receive(b"\x20\x02\x00\xff") == [Refused("for the reason 255")]


def test_publishes_are_acknowledged_by_number() -> None:
    made = welcome()
    mid = made.publish("a/b", b"x", 1)
    assert made.outgoing() == b"\x32\x08\x00\x03a/b" + struct.pack("!H", mid) + b"x"
    assert made.receive(b"\x40\x02" + struct.pack("!H", mid)) == [Acknowledged(mid)]


def test_what_needs_no_acknowledgement_is_done_when_it_is_written() -> None:
    made = welcome()
    mid = made.publish("a/b", b"x", 0)
    assert made.outgoing() == b"\x30\x06\x00\x03a/bx"
    assert made.written() == [Acknowledged(mid)]


def test_a_subscription_says_what_was_granted() -> None:
    made = welcome()
    mid = made.subscribe(["a/#", "b"], 1)
    made.outgoing()
    assert made.receive(b"\x90\x04" + struct.pack("!H", mid) + b"\x01\x80") == [Subscribed(mid, [True, False])]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_come_whole_however_the_bytes_come(size: int) -> None:
    made = welcome()
    data = publish("a", b"1") + publish("$hw/b", b"22") + publish("c", b"")
    events = [event for at in range(0, len(data), size) for event in made.receive(data[at : at + size])]
    assert events == [Message("a", b"1"), Message("$hw/b", b"22"), Message("c", b"")]


def test_a_message_of_quality_one_is_acknowledged() -> None:
    made = welcome()
    assert made.receive(b"\x32\x06\x00\x01a\x12\x34x") == [Message("a", b"x")]
    assert made.outgoing() == b"\x40\x02\x12\x34"


def test_a_goodbye_is_said() -> None:
    made = welcome()
    made.goodbye()
    assert made.outgoing() == b"\xe0\x00"
    assert [type(event) for event in made.written()] == [Lost]


def test_a_will_is_left_with_the_broker() -> None:
    sent = MqttSession("gw", "", "", will=Message("gone", b"now")).outgoing()
    assert sent == b"\x10\x19\0\4MQTT\4\x0e\0\x14\0\2gw\0\4gone\0\3now"


def test_who_listens_speaks_mqtt_5() -> None:
    made = MqttSession("gw", "", "", listens=True, will=Message("gone", b"now"))
    properties = b"\x08\x11\xff\xff\xff\xff\x21" + struct.pack("!H", MAX_UNREAD)
    assert made.outgoing() == b"\x10\x23\0\4MQTT\5\x0c\0\x14" + properties + b"\0\2gw" + b"\0" + b"\0\4gone\0\3now"
    assert made.receive(b"\x20\x06\0\0\3\x22\0\x0a") == [Welcomed()]
    mid = made.subscribe(["a"], 1)
    assert made.outgoing() == b"\x82\x07" + struct.pack("!H", mid) + b"\0\0\1a\1"
    assert made.receive(b"\x90\x04" + struct.pack("!H", mid) + b"\0\1") == [Subscribed(mid, [True])]
    assert made.receive(b"\x32\x0c\0\1a\x12\x34\5\2\0\0\0\7x") == [Message("a", b"x")]
    assert made.outgoing() == b"\x40\x02\x12\x34"
    made.unsubscribe(["a"])
    assert made.outgoing().endswith(b"\0\0\1a")
    with pytest.raises(AssertionError):
        made.publish("a", b"", 1)
    assert [type(each) for each in made.receive(b"\xe0\1\x8e")] == [Lost]


def test_a_packet_has_a_limit() -> None:
    with pytest.raises(ProtocolError, match=f"at most {MAX_PACKET}"):
        welcome().receive(b"\x30\xff\xff\xff\x7f")
    with pytest.raises(ProtocolError, match="no length"):
        welcome().receive(b"\x30\xff\xff\xff\xff")


@pytest.mark.parametrize("first", [b"\x20\x02\x00\x00", b"\xa0\x00", b"\x90\x03\x00\x07\x01"])
def test_what_does_not_fit_the_dialogue_is_refused(first: bytes) -> None:
    with pytest.raises(ProtocolError):
        welcome().receive(first)
    with pytest.raises(ProtocolError, match="at this time"):
        session().receive(publish("a", b""))


def test_what_was_not_published_is_not_acknowledged() -> None:
    made = welcome()
    mid = made.publish("a", b"", 1)
    puback = b"\x40\x02" + struct.pack("!H", mid)
    assert made.receive(b"\x40\x02\x12\x34" + puback + puback) == [Acknowledged(mid)]


def test_numbers_in_use_are_not_given_again() -> None:
    made = welcome()
    waits = made.publish("a", b"", 1)
    for _ in range(70_000):
        mid = made.publish("b", b"", 1)
        assert mid != waits
        assert 0 < mid < 1 << 16
        made.receive(b"\x40\x02" + struct.pack("!H", mid))


def test_no_more_wait_than_may() -> None:
    made = welcome()
    for _ in range(MAX_INFLIGHT):
        made.publish("a", b"", 1)
    with pytest.raises(AssertionError):
        made.publish("a", b"", 1)


def test_a_broker_that_answers_no_ping_is_lost() -> None:
    made = welcome()
    assert made.tick(1000.0) == []
    made.outgoing()
    assert made.tick(1000.0 + KEEPALIVE_S) == []
    assert made.outgoing() == b"\xc0\x00"
    made.receive(b"\xd0\x00")
    assert made.tick(1000.0 + 2 * KEEPALIVE_S) == []
    assert made.outgoing() == b"\xc0\x00"
    assert made.tick(999.9 + 3 * KEEPALIVE_S) == []
    assert [type(each) for each in made.tick(1000.0 + 3 * KEEPALIVE_S)] == [Lost]


def test_whatever_comes_only_a_protocol_error_comes_of_it() -> None:
    """Valid packets, cut, flipped and doubled, and random bytes."""
    seed = 11
    dice = random.Random(seed)
    valid = [CONNACK, publish("a/b", b"payload"), b"\x32\x06\x00\x01a\x12\x34x", b"\x90\x03\x00\x01\x01", b"\x40\x02\x00\x01"]
    valid += [b"\xd0\x00", b"\x34\x06\x00\x01a\x12\x34x", b"\x62\x02\x12\x34", b"\x50\x02\x00\x01", b"\xb0\x02\x00\x01"]
    refused = 0
    for _ in range(17_000):  # three packets at a time
        made = session()
        made.publish("a", b"", 1)
        data = bytearray(b"".join(dice.choices(valid, k=dice.randrange(1, 6))))
        for _ in range(dice.randrange(4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
            data = data or bytearray(b"\0")
        try:
            made.receive(data)
            made.outgoing()
        except ProtocolError:
            refused += 1
    assert refused > 100, seed
