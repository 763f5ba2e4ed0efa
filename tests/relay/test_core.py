from random import Random
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from edged.identity.certificates import load_certificate, load_key
from edged.wire import relay as wire
from edged.wire.codec import VERSION
from relay.core import REPLACED, Close, Relay, Send
from relay.forwarder import IDLE_S, Forwarder

NONCE = bytes(wire.NONCE)


def frame(*messages: wire.FromNode) -> bytes:
    return wire.FROM_NODE.encode(list(messages))


def joined(relay: Relay, fleet: Any, session: int, name: str, group: str = "site") -> list[Any]:
    relay.connected(session, NONCE, "192.0.2.1:4000")
    return relay.receive(session, frame(fleet.prove(name, NONCE, group)), fleet.now.timestamp())


def refusal(actions: list[Any]) -> str:
    assert len(actions) == 2
    assert isinstance(actions[0].message, wire.Refused)
    assert actions[1] == Close(actions[0].session)
    return actions[0].message.reason


def test_a_connection_is_challenged_and_a_good_proof_is_welcomed(acme: Any) -> None:
    relay = Relay(acme.verifier)
    assert relay.connected(1, NONCE, "192.0.2.1:4000") == [Send(1, wire.Challenge(VERSION, NONCE))]
    assert relay.admitted(1) is None
    actions = relay.receive(1, frame(acme.prove("gw-a", NONCE)), acme.now.timestamp())
    assert actions == [Send(1, wire.Welcome(VERSION, "gw-a", "192.0.2.1:4000", 1))]
    assert relay.admitted(1) == "gw-a"
    assert relay.nodes == 1


def test_presence_is_told_inside_a_group_only(acme: Any) -> None:
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    actions = joined(relay, acme, 3, "gw-b")
    assert actions[1:] == [Send(3, wire.Presence("gw-a", 1)), Send(1, wire.Presence("gw-b", 3))]
    assert relay.gone(3) == [Send(1, wire.Absence("gw-b"))]
    assert relay.gone(3) == []
    assert relay.nodes == 1


def test_of_another_group_the_few_that_are_introduced_are_told_and_reached(acme: Any) -> None:
    relay = Relay(acme.verifier)
    for session, name in enumerate(("gw-a", "gw-b", "gw-c"), 1):
        joined(relay, acme, session, name)
    actions = joined(relay, acme, 4, "gw-a", "elsewhere")
    assert actions[1:] == [
        *(Send(1, wire.Presence("gw-a", 4, "elsewhere")), Send(4, wire.Presence("gw-a", 1, "site"))),
        *(Send(2, wire.Presence("gw-a", 4, "elsewhere")), Send(4, wire.Presence("gw-b", 2, "site"))),
    ]
    forward = frame(wire.Forward("gw-a", [b"x"], "elsewhere"))
    assert relay.receive(1, forward, 0) == [Send(4, wire.Deliver("gw-a", [b"x"], "site"))]
    assert relay.receive(4, frame(wire.Forward("gw-b", [b"y"], "site")), 0) == [
        Send(2, wire.Deliver("gw-a", [b"y"], "elsewhere"))
    ]
    assert relay.receive(3, forward, 0) == []
    assert relay.receive(4, frame(wire.Forward("gw-c", [b"x"], "site")), 0) == []
    assert relay.statistics.dropped == {"unintroduced": 2}
    assert relay.gone(1) == [
        *(Send(2, wire.Absence("gw-a")), Send(3, wire.Absence("gw-a"))),
        Send(4, wire.Absence("gw-a", "site")),
        *(Send(3, wire.Presence("gw-a", 4, "elsewhere")), Send(4, wire.Presence("gw-c", 3, "site"))),
    ]
    assert relay.receive(3, forward, 0) == [Send(4, wire.Deliver("gw-c", [b"x"], "site"))]


def test_a_newer_connection_of_a_contact_is_told_to_those_who_could_reach_it(acme: Any) -> None:
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    joined(relay, acme, 2, "gw-x", "elsewhere")
    assert joined(relay, acme, 3, "gw-a")[1:] == [
        *(Send(1, wire.Refused(REPLACED)), Close(1)),
        Send(2, wire.Absence("gw-a", "site")),
        *(Send(2, wire.Presence("gw-a", 3, "site")), Send(3, wire.Presence("gw-x", 2, "elsewhere"))),
    ]
    assert relay.gone(1) == []


def test_datagrams_go_to_the_named_node_of_the_same_group(acme: Any) -> None:
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    joined(relay, acme, 2, "gw-b")
    joined(relay, acme, 3, "gw-x", "elsewhere")
    assert relay.receive(1, frame(wire.Forward("gw-b", [b"one", b"two"])), 0) == [
        Send(2, wire.Deliver("gw-a", [b"one", b"two"]))
    ]
    for to in ("gw-x", "gw-a", "nobody"):
        assert relay.receive(1, frame(wire.Forward(to, [b"secret"])), 0) == []
    assert relay.statistics.dropped["absent"] == 3
    assert (relay.statistics.datagrams, relay.statistics.bytes) == (2, 6)


def test_a_datagram_over_the_limit_is_dropped_and_counted(acme: Any) -> None:
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    joined(relay, acme, 2, "gw-b")
    assert relay.receive(1, frame(wire.Forward("gw-b", [bytes(wire.MAX_DATAGRAM + 1)])), 0) == []
    assert relay.statistics.dropped["oversized"] == 1


def test_a_newer_connection_of_the_same_node_replaces_the_older(acme: Any) -> None:
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    joined(relay, acme, 2, "gw-b")
    actions = joined(relay, acme, 3, "gw-a")
    assert actions[1:3] == [Send(1, wire.Refused(REPLACED)), Close(1)]
    assert actions[3:] == [Send(3, wire.Presence("gw-b", 2)), Send(2, wire.Presence("gw-a", 3))]
    assert relay.gone(1) == []  # nobody hears that the older one went
    assert relay.receive(2, frame(wire.Forward("gw-a", [b"x"])), 0) == [Send(3, wire.Deliver("gw-b", [b"x"]))]
    assert relay.nodes == 2


def test_a_wrong_version_is_refused_with_a_reason(acme: Any) -> None:
    relay = Relay(acme.verifier)
    relay.connected(1, NONCE, "192.0.2.1:4000")
    proof = msgspec.structs.replace(acme.prove("gw-a", NONCE), version=VERSION + 1)
    assert "version 2 is not spoken here" in refusal(relay.receive(1, frame(proof), acme.now.timestamp()))
    assert relay.statistics.refused["version"] == 1


def test_a_proof_over_another_nonce_is_refused(acme: Any) -> None:
    relay = Relay(acme.verifier)
    relay.connected(1, NONCE, "192.0.2.1:4000")
    replayed = acme.prove("gw-a", b"\x01" * wire.NONCE)
    assert "not by the certificate's key" in refusal(relay.receive(1, frame(replayed), acme.now.timestamp()))
    assert relay.admitted(1) is None


def test_a_proof_by_another_key_is_refused(acme: Any) -> None:
    relay = Relay(acme.verifier)
    relay.connected(1, NONCE, "192.0.2.1:4000")
    stolen = msgspec.structs.replace(acme.prove("gw-b", NONCE), certificate=acme.identity("gw-a").certificate_der)
    assert "not by the certificate's key" in refusal(relay.receive(1, frame(stolen), acme.now.timestamp()))


def test_a_node_of_another_fleet_is_refused(acme: Any, evil: Any) -> None:
    relay = Relay(acme.verifier)
    assert "not a certificate of this fleet" in refusal(joined(relay, evil, 1, "gw-a"))
    assert relay.statistics.refused["proof"] == 1


def test_a_certificate_that_is_over_is_refused(acme: Any) -> None:
    relay = Relay(acme.verifier)
    relay.connected(1, NONCE, "192.0.2.1:4000")
    assert "valid from" in refusal(relay.receive(1, frame(acme.prove("gw-a", NONCE)), acme.now.timestamp() + 6 * 365 * 86400))


def test_a_relay_is_no_node(acme: Any) -> None:
    bundle = acme.authority.issue_relay("relay-1", ["127.0.0.1"], acme.now)
    der = load_certificate(bundle.certificate).public_bytes(Encoding.DER)
    signature = load_key(bundle.key).sign(wire.proof_input(NONCE, "r"), ec.ECDSA(hashes.SHA256()))
    relay = Relay(acme.verifier)
    relay.connected(1, NONCE, "192.0.2.1:4000")
    assert "is no node" in refusal(relay.receive(1, frame(wire.Prove(VERSION, der, "r", signature)), acme.now.timestamp()))


def test_a_proof_for_another_relay_is_refused(acme: Any) -> None:
    relay = Relay(acme.verifier, ["relay.example.com", "Relay2.example.com"])
    relay.connected(1, NONCE, "192.0.2.1:4000")
    proof = acme.prove("gw-a", NONCE, audience="other.example.com")
    assert "not this relay" in refusal(relay.receive(1, frame(proof), acme.now.timestamp()))
    relay.connected(2, NONCE, "192.0.2.1:4001")
    proof = acme.prove("gw-a", NONCE, audience="RELAY2.example.com")
    relay.receive(2, frame(proof), acme.now.timestamp())
    assert relay.admitted(2) == "gw-a"


def test_before_the_proof_nothing_else_is_taken(acme: Any) -> None:
    relay = Relay(acme.verifier)
    for session, said in enumerate([frame(wire.Forward("gw-b", [b"x"])), b"\xc1", "text", frame()], 1):
        relay.connected(session, NONCE, "192.0.2.1:4000")
        actions = relay.receive(session, said, acme.now.timestamp())
        if said == frame():
            assert actions == []  # nothing said, nothing refused
        else:
            assert refusal(actions)
            assert relay.receive(session, frame(acme.prove("gw-a", NONCE)), acme.now.timestamp()) == []
    assert relay.late(4) == [Send(4, wire.Refused("no proof came in time")), Close(4)]


def test_what_a_member_says_out_of_turn_is_dropped_and_counted(acme: Any) -> None:
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    assert relay.receive(1, frame(acme.prove("gw-a", NONCE)), 0) == []
    assert relay.receive(1, b"\xc1", 0) == []
    assert relay.receive(1, "text", 0) == []
    assert relay.receive(1, bytes(wire.MAX_WS_FRAME + 1), 0) == []
    assert relay.statistics.dropped == {"unexpected": 1, "unparsable": 3}
    assert relay.late(1) == []
    assert relay.admitted(1) == "gw-a"


def test_a_certificate_of_a_version_that_x509_has_not_is_refused(acme: Any) -> None:
    relay = Relay(acme.verifier)
    relay.connected(1, NONCE, "192.0.2.1:4000")
    proof = acme.prove("gw-a", NONCE)
    version = bytes.fromhex("a003020102")  # [0] EXPLICIT INTEGER 2 (RFC 5280, section 4.1.2.1)
    assert proof.certificate.count(version) == 1
    odd = msgspec.structs.replace(proof, certificate=proof.certificate.replace(version, bytes.fromhex("a003020177")))
    assert "not a certificate of this fleet" in refusal(relay.receive(1, frame(odd), acme.now.timestamp()))


def with_udp(fleet: Any) -> Relay:
    ports = iter(range(20000, 30000))
    forwarder = Forwarder(
        bytes(32),
        questions=[7443, 7444],
        open_port=lambda: next(ports),
        close_port=lambda _port: None,
        rate=1e9,
        most=2,
    )
    return Relay(fleet.verifier, forwarder=forwarder)


def test_who_is_welcomed_learns_the_ports_and_a_key_of_its_own(acme: Any) -> None:
    relay = with_udp(acme)
    welcomes = [joined(relay, acme, session, f"gw-{session}")[0].message for session in (1, 2)]
    assert [(welcome.session, welcome.udp) for welcome in welcomes] == [(1, [7443, 7444]), (2, [7443, 7444])]
    assert {len(welcome.udp_key) for welcome in welcomes} == {wire.UDP_KEY}
    assert welcomes[0].udp_key != welcomes[1].udp_key


def test_two_nodes_are_told_of_their_port(acme: Any) -> None:
    relay = with_udp(acme)
    joined(relay, acme, 1, "gw-a")
    joined(relay, acme, 2, "gw-b")
    joined(relay, acme, 3, "gw-x", "elsewhere")  # the groups are neighbours: their nodes have met
    told = [Send(1, wire.Allotted("gw-b", 20000)), Send(2, wire.Allotted("gw-a", 20000))]
    assert relay.receive(1, frame(wire.Allot("gw-b")), 0) == told
    assert relay.receive(1, frame(wire.Allot("gw-b", "site")), 0) == told
    assert relay.receive(2, frame(wire.Allot("gw-a")), 0) == told[::-1]
    assert relay.receive(3, frame(wire.Allot("gw-a", "site")), 0) == [
        Send(3, wire.Allotted("gw-a", 20001, "site")),
        Send(1, wire.Allotted("gw-x", 20001, "elsewhere")),
    ]
    assert relay.receive(3, frame(wire.Allot("gw-b", "site")), 0) == [Send(3, wire.Allotted("gw-b", 0, "site"))]  # all used
    assert relay.receive(1, frame(wire.Allot("nobody"), wire.Allot("gw-a"), wire.Allot("gw-x")), 0) == []
    assert relay.statistics.dropped == {"absent": 3}


def test_a_port_goes_with_its_nodes_and_when_nobody_uses_it(acme: Any) -> None:
    relay = with_udp(acme)
    assert relay.forwarder is not None
    for session, name in ((1, "gw-a"), (2, "gw-b")):
        joined(relay, acme, session, name)
    relay.receive(1, frame(wire.Allot("gw-b")), 0)
    joined(relay, acme, 3, "gw-b")  # it came anew
    assert relay.forwarder.ports == 0
    relay.receive(1, frame(wire.Allot("gw-b")), 0)
    assert relay.expire(0.0) == []
    assert relay.expire(IDLE_S) == [Send(1, wire.Allotted("gw-b", 0)), Send(3, wire.Allotted("gw-a", 0))]
    assert relay.expire(2 * IDLE_S) == []
    relay.receive(1, frame(wire.Allot("gw-b")), 0)
    relay.gone(3)
    assert relay.forwarder.ports == 0


def test_a_port_goes_when_nodes_of_two_groups_part(acme: Any) -> None:
    relay = with_udp(acme)
    assert relay.forwarder is not None
    for number, (name, group) in enumerate([("x", "g1"), ("a", "site"), ("b", "site"), ("c", "site")]):
        joined(relay, acme, number, name, group)
    told = relay.receive(0, frame(wire.Allot("a", "site")), 0)
    assert [action.message.port for action in told] == [20000, 20000]
    assert relay.receive(0, frame(wire.Allot("c", "site")), 0) == []  # c is no contact of its group
    assert relay.statistics.dropped == {"unintroduced": 1}
    for number in range(10, 40):  # so many groups come between that the two meet no more
        joined(relay, acme, number, "n", f"g{number}")
    met = relay._contacts.met(0, 1)
    assert relay.forwarder.ports == int(met)
    assert not met


def test_without_udp_no_port_is_to_be_had(acme: Any) -> None:
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    joined(relay, acme, 2, "gw-b")
    assert relay.receive(1, frame(wire.Allot("gw-b")), 0) == [Send(1, wire.Allotted("gw-b", 0))]
    assert relay.expire(1e9) == []


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # a mangled serial number
@given(st.integers(0, 2**32), st.binary(max_size=80))
def test_whatever_the_bytes_nothing_but_declared_outcomes_come_out(acme: Any, seed: int, noise: bytes) -> None:
    """Cut, flipped, duplicated and random frames, proved or not."""
    random = Random(seed)
    relay = Relay(acme.verifier)
    joined(relay, acme, 1, "gw-a")
    joined(relay, acme, 3, "gw-a", "elsewhere")
    relay.connected(2, NONCE, "192.0.2.1:4000")
    good = frame(acme.prove("gw-b", NONCE), wire.Forward("gw-a", [b"x" * 40], "elsewhere"))
    mangled = bytearray(good)
    for _ in range(random.randrange(1, 6)):
        mangled[random.randrange(len(mangled))] = random.randrange(256)
    cut = good[: random.randrange(len(good))]
    for said in (noise, bytes(mangled), cut, good + good, bytes(mangled) + noise):
        for session in (1, 2):
            for action in relay.receive(session, said, acme.now.timestamp()):
                assert isinstance(action, Send | Close)
    assert relay.admitted(1) in ("gw-a", None)


@given(st.lists(st.tuples(st.sampled_from("jgf"), st.integers(0, 5), st.sampled_from(["a", "b", "c"])), max_size=40))
def test_each_node_knows_exactly_its_connected_peers(acme: Any, steps: list[tuple[str, int, str]]) -> None:
    """Whoever replays the presences it was sent ends with the sessions that are connected now."""
    relay = Relay(acme.verifier)
    sessions: dict[int, str] = {}
    seen: dict[int, dict[str, int]] = {}
    number = 0

    def deliver(actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Close):
                sessions.pop(action.session, None)
            elif isinstance(action.message, wire.Presence):
                seen[action.session][action.message.node] = action.message.session
            elif isinstance(action.message, wire.Absence):
                del seen[action.session][action.message.node]

    for what, index, name in steps:
        if what == "j":
            number += 1
            seen[number], sessions[number] = {}, name
            deliver(joined(relay, acme, number, name))
        elif sessions:
            session = sorted(sessions)[index % len(sessions)]
            if what == "g":
                del sessions[session]
                deliver(relay.gone(session))
            else:
                deliver(relay.receive(session, frame(wire.Forward(name, [b"x"])), 0))
    for session, name in sessions.items():
        assert seen[session] == {other: at for at, other in sessions.items() if other != name}
