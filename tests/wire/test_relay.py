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
    said += [Presence("gw-x", 8, "site-2"), Absence("gw-x", "site-2"), Deliver("gw-x", [b"x"], "site-2")]
    assert FROM_RELAY.decode(FROM_RELAY.encode(said)) == said
    answered = [
        Prove(1, b"cert", "relay.example.com", b"sig"),
        Forward("gw-b", [b"datagram"]),
        Forward("gw-x", [b"y"], "site-2"),
    ]
    assert FROM_NODE.decode(FROM_NODE.encode(answered)) == answered


def test_a_newer_sender_may_add_fields() -> None:
    assert FROM_RELAY.decode(b"\x91\x94\xa7Absence\xa4gw-b\xa0\xc3") == [Absence("gw-b")]


def test_an_older_sender_knows_no_groups() -> None:
    assert FROM_RELAY.decode(b"\x91\x92\xa7Absence\xa4gw-b") == [Absence("gw-b")]


def test_a_proof_is_bound_to_nonce_and_audience() -> None:
    inputs = {proof_input(b"n" * 32, "a"), proof_input(b"m" * 32, "a"), proof_input(b"n" * 32, "b")}
    assert len(inputs) == 3
    assert version_refusal(9) == "protocol version 9 is not spoken here, version 1 is"
