import pytest

from edged.errors import ProtocolError
from edged.wire.relay import (
    FROM_NODE,
    FROM_RELAY,
    Absence,
    Allot,
    Allotted,
    Challenge,
    Deliver,
    Forward,
    Presence,
    Prove,
    Refused,
    Welcome,
    proof_input,
    version_refusal,
)


def test_every_message_comes_back() -> None:
    said = [
        Challenge(1, b"n" * 32),
        Welcome(1, "gw-a", "192.0.2.1:40000"),
        Refused("why"),
        Presence("gw-b", 7),
        Absence("gw-b"),
    ]
    said.append(Deliver("gw-b", [b"", b"x" * 1400]))
    said += [Welcome(1, "gw-a", "192.0.2.1:40000", 2**44, [7443, 7444], b"k" * 32), Allotted("gw-b", 20000)]
    said += [
        Allotted("gw-x", 0, "site-2"),
        Presence("gw-x", 8, "site-2"),
        Absence("gw-x", "site-2"),
        Deliver("gw-x", [b"x"], "site-2"),
    ]
    assert FROM_RELAY.decode(FROM_RELAY.encode(said)) == said
    answered = [
        Prove(1, b"cert", "relay.example.com", b"sig"),
        Forward("gw-b", [b"datagram"]),
        Forward("gw-x", [b"y"], "site-2"),
        Allot("gw-b"),
        Allot("gw-x", "site-2"),
    ]
    assert FROM_NODE.decode(FROM_NODE.encode(answered)) == answered


def test_a_newer_sender_may_add_fields() -> None:
    assert FROM_RELAY.decode(b"\x91\x94\xa7Absence\xa4gw-b\xa0\xc3") == [Absence("gw-b")]


def test_an_older_sender_knows_no_groups() -> None:
    assert FROM_RELAY.decode(b"\x91\x92\xa7Absence\xa4gw-b") == [Absence("gw-b")]


def test_an_older_relay_has_no_udp() -> None:
    assert FROM_RELAY.decode(b"\x91\x94\xa7Welcome\x01\xa1a\xa1b") == [Welcome(1, "a", "b")]
    assert Welcome(1, "a", "b").udp == []


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_is_one(port: int) -> None:
    with pytest.raises(ProtocolError):
        FROM_RELAY.decode(FROM_RELAY.encode([Allotted("gw-b", port)]))
    with pytest.raises(ProtocolError):
        FROM_RELAY.decode(FROM_RELAY.encode([Welcome(1, "a", "b", 1, [7443, port])]))


def test_a_proof_is_bound_to_nonce_and_audience() -> None:
    inputs = {proof_input(b"n" * 32, "a"), proof_input(b"m" * 32, "a"), proof_input(b"n" * 32, "b")}
    assert len(inputs) == 3
    assert version_refusal(9) == "protocol version 9 is not spoken here, version 1 is"
