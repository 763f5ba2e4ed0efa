import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import DeniedError, ProtocolError
from edged.hub.relayspeech import FORWARD_BYTES, RelaySpeech, Welcomed, forwards
from edged.wire.codec import VERSION
from edged.wire.relay import (
    FROM_NODE,
    FROM_RELAY,
    MAX_WS_FRAME,
    Absence,
    Allotted,
    Challenge,
    Deliver,
    Forward,
    Presence,
    Prove,
    Refused,
    Welcome,
    proof_input,
)

NONCE = bytes(range(32))


def frame(*messages: Any) -> bytes:
    return FROM_RELAY.encode(list(messages))


def test_the_node_proves_itself_for_the_relay_that_it_dialled(acme: Any) -> None:
    a = acme.identity("gw-a")
    speech = RelaySpeech(a, "relay.example.org")
    ((prove,), told) = speech.receive(frame(Challenge(VERSION, NONCE)))
    assert told == []
    assert isinstance(prove, Prove)
    assert prove.audience == "relay.example.org"
    data = proof_input(NONCE, "relay.example.org")
    assert acme.verifier.proof(prove.certificate, data, prove.signature, time.time()).name == "gw-a"
    rest = [Presence("gw-b", 4), Deliver("gw-b", [b"x"]), Allotted("gw-b", 20000), Absence("gw-b")]
    welcome, welcomed = Welcome(VERSION, "gw-a", "192.0.2.1:5"), Welcomed("192.0.2.1:5")
    assert speech.receive(frame(welcome, *rest)) == ([], [welcomed, *rest])


def test_a_relay_with_udp_says_where_and_with_which_key(acme: Any) -> None:
    speech = RelaySpeech(acme.identity("gw-a"), "r")
    speech.receive(frame(Challenge(VERSION, NONCE)))
    key = bytes(range(100, 132))
    _, (welcomed,) = speech.receive(frame(Welcome(VERSION, "gw-a", "192.0.2.1:5", 7, [7443, 7444], key)))
    assert welcomed == Welcomed("192.0.2.1:5", 7, (7443, 7444), key)
    assert repr(key)[2:-1] not in repr(welcomed)
    with pytest.raises(ProtocolError):
        RelaySpeech(acme.identity("gw-a"), "r").receive(frame(Welcome(VERSION, "gw-a", "", 7, [99999], key)))


def test_a_node_of_another_group_is_called_by_its_group_and_name(acme: Any) -> None:
    speech = RelaySpeech(acme.identity("gw-a"), "r")
    speech.receive(frame(Challenge(VERSION, NONCE)))
    rest = [
        Presence("gw-x", 4, "site-2"),
        Deliver("gw-x", [b"x"], "site-2"),
        Deliver("gw-x", [b"y"]),
        Absence("gw-x", "site-2"),
        Allotted("gw-x", 20000, "site-2"),
    ]
    _, (_, present, abroad, own, absent, port) = speech.receive(frame(Welcome(VERSION, "gw-a", ""), *rest))
    assert present == Presence("site-2/gw-x", 4, "site-2")
    assert abroad == Deliver("site-2/gw-x", [b"x"], "site-2")
    assert own == Deliver("gw-x", [b"y"])
    assert absent == Absence("site-2/gw-x", "site-2")
    assert port == Allotted("site-2/gw-x", 20000, "site-2")
    (frame_,) = forwards([("gw-b", b"1"), ("site-2/gw-b", b"2"), ("site-2/gw-b", b"3")])
    assert FROM_NODE.decode(frame_) == [Forward("gw-b", [b"1"]), Forward("gw-b", [b"2", b"3"], "site-2")]


def test_a_newer_relay_still_speaks_our_version(acme: Any) -> None:
    ((prove,), _) = RelaySpeech(acme.identity("gw-a"), "r").receive(frame(Challenge(VERSION + 1, NONCE)))
    assert isinstance(prove, Prove)
    assert prove.version == VERSION


def test_refusals(acme: Any) -> None:
    with pytest.raises(DeniedError, match="protocol version 7 is not spoken here"):
        RelaySpeech(acme.identity("gw-a"), "r").receive(frame(Refused("protocol version 7 is not spoken here")))
    with pytest.raises(DeniedError, match="too old"):
        RelaySpeech(acme.identity("gw-a"), "r").receive(frame(Challenge(0, NONCE)))


@pytest.mark.parametrize(
    "frames",
    [
        [[Welcome(VERSION, "gw-a", "")]],
        [[Deliver("gw-b", [b"x"])]],
        [[Challenge(VERSION, NONCE)], [Presence("gw-b", 1)]],
        [[Challenge(VERSION, NONCE), Challenge(VERSION, NONCE)]],
        [[Challenge(VERSION, NONCE), Welcome(VERSION, "gw-a", ""), Welcome(VERSION, "gw-a", "")]],
        [[Challenge(VERSION, NONCE), Welcome(VERSION, "gw-a", ""), Challenge(VERSION, NONCE)]],
        [[Challenge(VERSION, b"short")]],
    ],
)
def test_words_out_of_turn(acme: Any, frames: list[list[Any]]) -> None:
    speech = RelaySpeech(acme.identity("gw-a"), "r")
    with pytest.raises(ProtocolError):
        for messages in frames:
            speech.receive(frame(*messages))


@given(st.binary(max_size=60), st.integers(0, 80), st.integers(1, 255))
def test_only_declared_errors(data: bytes, at: int, flip: int) -> None:
    damaged = bytearray(frame(Presence("gw-b", 4, "site-2"), Deliver("gw-b", [b"datagram"], "site-2"), Absence("gw-b")))
    damaged[at % len(damaged)] ^= flip
    for received in (data, bytes(damaged), bytes(damaged[:at])):
        speech = RelaySpeech.__new__(RelaySpeech)
        speech._expected = None
        try:
            speech.receive(received)
        except (ProtocolError, DeniedError):
            pass


@given(st.lists(st.tuples(st.sampled_from(["gw-b", "gw-c"]), st.integers(0, 65535)), max_size=60))
def test_what_waits_together_travels_together_in_order(sizes: list[tuple[str, int]]) -> None:
    waiting = [(node, bytes([number]) + bytes(size)) for number, (node, size) in enumerate(sizes)]
    frames = forwards(waiting)
    said: list[tuple[str, bytes]] = []
    for data in frames:
        assert len(data) <= MAX_WS_FRAME
        for message in FROM_NODE.decode(data):
            assert isinstance(message, Forward)
            said += [(message.to, datagram) for datagram in message.datagrams]
    assert said == waiting
    assert len(frames) <= 1 + 2 * sum(len(data) for _, data in waiting) // FORWARD_BYTES
