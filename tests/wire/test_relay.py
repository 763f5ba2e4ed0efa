from edged.wire.relay import (
    FROM_NODE,
    FROM_RELAY,
    Absence,
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
    assert FROM_RELAY.decode(FROM_RELAY.encode(said)) == said
    answered = [Prove(1, b"cert", "relay.example.com", b"sig"), Forward("gw-b", [b"datagram"])]
    assert FROM_NODE.decode(FROM_NODE.encode(answered)) == answered


def test_a_newer_sender_may_add_fields() -> None:
    assert FROM_RELAY.decode(b"\x91\x93\xa7Absence\xa4gw-b\xc3") == [Absence("gw-b")]


def test_a_proof_is_bound_to_nonce_and_audience() -> None:
    inputs = {proof_input(b"n" * 32, "a"), proof_input(b"m" * 32, "a"), proof_input(b"n" * 32, "b")}
    assert len(inputs) == 3
    assert version_refusal(9) == "protocol version 9 is not spoken here, version 1 is"
