import random
from collections.abc import Callable

import pytest

from edged.device.bus import packets
from edged.device.bus.packets import MAX_PACKET, Message, Published
from edged.errors import ProtocolError

MESSAGES = [
    *(b"\x20\x02\x00\x00", b"\x40\x02\x00\x01", b"\x90\x04\x00\x01\x01\x80", b"\xb0\x02\x00\x01", b"\xd0\x00"),
    *(packets.publish("a/b", b"payload", None, retain=False), packets.publish("$hw/é", b"x" * 200, 7, retain=True)),
]
FIVE = [b"\x20\x06\0\0\3\x22\0\x0a", b"\x90\x05\0\1\0\1\x80", b"\x32\x0c\0\1a\x12\x34\5\2\0\0\0\7x", b"\xe0\1\x8e"]
MESSAGES += FIVE
PARSERS: dict[int, Callable[[int, bytes], object]] = {
    packets.CONNACK: lambda _, body: packets.refusal(body),
    packets.PUBACK: lambda _, body: packets.acknowledged(body),
    packets.SUBACK: lambda _, body: [packets.granted(body, five=five) for five in (False, True)],
}


def check(data: bytes) -> None:
    """Whatever comes, only ProtocolError comes of it; nothing of a PUBLISH that passes gets lost."""
    try:
        for first, body in packets.cut(bytearray(data)):
            if first & 0xF0 in PARSERS:
                PARSERS[first & 0xF0](first, body)
                continue
            topic, payload = packets.published(first, body, five=False).message
            assert len(topic.encode()) + len(payload) in (len(body) - 2, len(body) - 4)
            assert payload.endswith(packets.published(first, body, five=True).message.payload)
    except ProtocolError:
        pass


def test_packets_are_cut_whole() -> None:
    data = bytearray(b"".join(MESSAGES))
    whole = [first for first, _ in packets.cut(bytearray(data))]
    assert whole == [each[0] for each in MESSAGES]
    unread, found = bytearray(), []
    for each in data:
        unread.append(each)
        found += [first for first, _ in packets.cut(unread)]
    assert found == whole
    assert not unread


@pytest.mark.parametrize(("size", "length"), [(120, b"\x7f"), (121, b"\x80\x01"), (20_000, b"\xa7\x9c\x01")])
def test_lengths(size: int, length: bytes) -> None:
    packet = packets.publish("topic", b"x" * size, None, retain=False)
    assert packet[1 : 1 + len(length)] == length
    ((first, body),) = packets.cut(bytearray(packet))
    assert packets.published(first, body, five=False) == Published(Message("topic", b"x" * size), None)


def test_a_packet_has_a_limit() -> None:
    with pytest.raises(ProtocolError, match=f"at most {MAX_PACKET}"):
        list(packets.cut(bytearray(b"\x30\xff\xff\xff\x7f")))
    with pytest.raises(ProtocolError, match="no length"):
        list(packets.cut(bytearray(b"\x30\xff\xff\xff\xff")))


@pytest.mark.parametrize("topic", ["", "a/#", "a/+/b", "a\0", "x" * 65536, "\ud800"])
def test_topics_that_cannot_be_published_to(topic: str) -> None:
    with pytest.raises(ValueError, match=r"expected a topic|at most 65535|surrogates"):
        packets.publish(topic, b"", None, retain=False)


@pytest.mark.parametrize("wrong", ["", "a#", "#/a", "a/b+", "++", "\0"])
def test_filters_that_are_none(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected a filter"):
        packets.subscribe(1, [wrong], 1, five=False)
    with pytest.raises(ValueError, match="at least one"):
        packets.unsubscribe(1, [], five=False)


@pytest.mark.parametrize("right", ["#", "+", "a/+/b/#", "+/+", "/"])
def test_filters(right: str) -> None:
    assert (
        packets.subscribe(7, [right], 1, five=False)
        == b"\x82" + bytes((len(right) + 5, 0, 7, 0, len(right))) + right.encode() + b"\1"
    )


def test_whatever_comes_only_a_protocol_error_comes_of_it() -> None:
    seed = 5
    dice = random.Random(seed)
    for _ in range(50_000):
        data = bytearray(dice.choice(MESSAGES) + dice.choice(MESSAGES))
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
            data = data or bytearray(b"\0")
        check(bytes(data))
