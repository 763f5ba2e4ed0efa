import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import DeniedError, ProtocolError
from edged.sync.clock import MAX_SKEW_S, Clock, at
from edged.sync.session import MAX_KEYS, MAX_ORIGINS, Session, Sweep
from edged.wire.codec import VERSION, Frames, framed
from edged.wire.sync import (
    BODY,
    MAX_CERTIFICATES,
    MAX_DELTA,
    MAX_PULSES,
    MAX_WANTED,
    SYNC,
    Certificates,
    Delta,
    Found,
    Fresh,
    Hello,
    Pulse,
    Pulses,
    Refused,
    Register,
    Standing,
    SyncMessage,
    Vector,
    Want,
)

from .conftest import identity, keyring

NOW = 1_000_000.0
POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0"},"spec":{}}'
B, C = "site/gw-b:1", "site/gw-c:1"
GOOD = Register("pods", "default", "web-0", BODY, "u", B, 1, at(NOW), POD)
PULSE = Pulse("gw-b", 5, 1, NOW, 10.0)
KEYS = keyring("gw-a", "gw-b", "gw-c")


def fresh(*, limited: bool = False) -> Session:
    return Session("gw-b", limited=limited, scopes=("site",), clock=Clock(lambda: NOW), keys=KEYS)


def session(*, limited: bool = False) -> Session:
    made = fresh(limited=limited)
    made.receive(Hello(VERSION, NOW, []), {})
    made.receive(Vector({}, {}, 0), {})
    return made


def test_nothing_is_lacking_before_the_peer_said_what_it_holds() -> None:
    made = fresh()
    assert made.lacking({"site/gw-a:1": 5}, {}) == []
    made.receive(Hello(VERSION, NOW, []), {})
    made.receive(Vector({"site/gw-a:1": 2, B: 9}, {}, 0), {})
    assert made.lacking({"site/gw-a:1": 5, C: 1, B: 4}, {}) == [("site/gw-a:1", 2), (C, 0)]


def test_only_scopes_that_both_hold_are_spoken_of() -> None:
    made = session()
    held = {"other/gw-x:1": 3, "*/gw-x:1": 2, "site/gw-a:1": 1}
    assert made.lacking(held, {}) == [("*/gw-x:1", 0), ("site/gw-a:1", 0)]
    assert made.vector(held, {"other/gw-x:1": 1}) == Vector({"*/gw-x:1": 2, "site/gw-a:1": 1}, {}, 0)


def test_what_was_sent_or_heard_is_not_sent_again() -> None:
    made = session()
    made.sent(Delta("site/gw-a:1", 0, 3, []))
    assert made.lacking({"site/gw-a:1": 3}, {}) == []
    assert made.lacking({"site/gw-a:1": 4}, {}) == [("site/gw-a:1", 3)]
    made.receive(Delta(B, 0, 1, [GOOD]), {})
    assert made.lacking({B: 1}, {}) == []


def test_a_later_vector_says_what_came_of_what_was_sent() -> None:
    made = session()
    made.sent(Delta("site/gw-a:1", 0, 3, []))
    made.sent(Delta(C, 0, 7, []))
    made.receive(Vector({"site/gw-a:1": 1}, {}, 1), {})  # it took the first up to 1, and has not seen the second
    assert made.lacking({"site/gw-a:1": 3, C: 7}, {}) == [("site/gw-a:1", 1)]
    made.receive(Vector({"site/gw-a:1": 1}, {}, 2), {})
    assert made.lacking({"site/gw-a:1": 3, C: 7}, {}) == [("site/gw-a:1", 1), (C, 0)]


def test_our_vector_counts_the_deltas_that_are_in_it() -> None:
    made = session()
    made.receive(Delta(B, 0, 1, [GOOD]), {})
    assert made.vector({}, {}).taken == 0
    made.taken(Delta(B, 0, 1, [GOOD]))
    assert made.vector({B: 1}, {B: 1}) == Vector({B: 1}, {B: 1}, 1)


def test_a_pulse_is_told_once_and_not_to_who_told_it() -> None:
    made = session()
    other = Pulse("gw-c", 5, 1, NOW, 10.0)
    made.receive(Pulses([PULSE]), {})
    assert made.untold([PULSE, other]) == [other]
    assert made.untold([PULSE, other]) == []
    newer = msgspec.structs.replace(PULSE, number=2)
    assert made.untold([newer, other]) == [newer]


def test_of_an_origin_whose_deletions_are_forgotten_nothing_is_sent_that_would_hide_that() -> None:
    made = fresh()
    made.receive(Hello(VERSION, NOW, []), {})
    made.receive(Vector({B: 3, C: 2}, {}, 0), {})
    assert made.lacking({B: 9, C: 9}, {B: 3, C: 3}) == [(B, 3)], "of C the peer needs a fresh copy"


def test_certificates_are_sent_before_what_they_prove_and_once() -> None:
    made = fresh()
    known = sorted(KEYS.ids)
    made.receive(Hello(VERSION, NOW, known[:1]), {})
    seals = [identity(name).seal(b"x") for name in ("gw-a", "gw-b", "gw-c")]
    assert sorted(made.missing(seals)) == sorted(KEYS.certificate(id_) for id_ in known[1:])
    assert made.missing(seals) == []


def test_a_peer_that_removed_tombstones_which_we_lack_makes_us_stale_unless_it_is_limited() -> None:
    for limited in (False, True):
        made = session(limited=limited)
        made.receive(Vector({C: 9}, {C: 5}, 0), {})
        assert made.stale({C: 4}) is not limited
        assert not made.stale({C: 5})


def test_a_fresh_copy_says_what_stands() -> None:
    made = session()
    made.copying = True
    second = msgspec.structs.replace(GOOD, name="web-1", seq=4)
    made.receive(Delta(B, 0, 2, [GOOD], copy=True), {})
    made.receive(Delta(B, 2, 5, [second], copy=True), {})
    made.receive(Delta(C, 0, 3, [], copy=True), {})
    made.receive(Delta(C, 3, 9, []), {})  # an ordinary one between
    assert made.receive(Standing({B: 5, C: 3}), {}) == Sweep({B: 5, C: 3}, {B: {1, 4}, C: set()})
    assert not made.copying


@pytest.mark.parametrize(
    ("held", "own", "reason"),
    [
        ({B: 6}, {}, "that is not complete"),
        ({"site/gw-x:1": 1}, {}, "that is not complete"),
        ({B: 5}, {B: 4}, "which this node has not written"),
        ({B: -1}, {}, "that is not complete"),
    ],
)
def test_a_fresh_copy_is_believed_up_to_what_was_sent_and_can_be(
    held: dict[str, int], own: dict[str, int], reason: str
) -> None:
    made = session()
    made.copying = True
    made.receive(Delta(B, 0, 5, [GOOD], copy=True), {})
    with pytest.raises(ProtocolError, match=reason):
        made.receive(Standing(held), own)


def test_a_fresh_copy_that_nobody_asked_for_or_of_a_limited_node_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not asked for"):
        session().receive(Standing({}), {})
    made = session(limited=True)
    made.copying = True
    with pytest.raises(ProtocolError, match="not asked for"):
        made.receive(Standing({}), {})


CERTIFICATE = identity("gw-b").certificate_der


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Vector({"x": -1}, {}, 0), "up to -1"),
        (Vector({str(n): 1 for n in range(MAX_ORIGINS + 1)}, {}, 0), "origins"),
        (Vector({}, {str(n): 1 for n in range(MAX_ORIGINS + 1)}, 0), "origins"),
        (Vector({}, {}, 1), "with 1 of 0 deltas"),
        (Hello(VERSION, NOW, []), "Hello out of turn"),
        (Delta(B, 5, 1, []), "from 5 to 1"),
        (Delta(B, 0, 1 << 63, []), "from 0 to"),
        (Delta("other/gw-b:1", 0, 1, []), "no node of ours"),
        (Delta("site/gw-unheard:1", 0, 1, []), "no node of ours"),
        (Delta(B, 0, MAX_DELTA + 1, [msgspec.structs.replace(GOOD, seq=n + 1) for n in range(MAX_DELTA + 1)]), "registers"),
        (Delta(B, 0, 1, [msgspec.structs.replace(GOOD, origin=C)]), "gw-c:1"),
        (Delta(B, 0, 1, [msgspec.structs.replace(GOOD, seq=2)]), "a register 2"),
        (Delta(B, 0, 2, [msgspec.structs.replace(GOOD, seq=2), GOOD]), "a register 1 of"),
        (Delta(B, 0, 1, [msgspec.structs.replace(GOOD, part="both")]), "bad key"),
        (Delta(B, 0, 1, [msgspec.structs.replace(GOOD, name="")]), "bad key"),
        (Delta(B, 0, 1, [msgspec.structs.replace(GOOD, name="x" * 254)]), "bad key"),
        (Delta(B, 0, 1, [msgspec.structs.replace(GOOD, clock=1 << 63)]), "bad key"),
        (Certificates([b"no certificate"]), "not a certificate of this fleet"),
        (Certificates([CERTIFICATE] * (MAX_CERTIFICATES + 1)), "certificates"),
        (Pulses([PULSE] * (MAX_PULSES + 1)), "pulses"),
        (Pulses([msgspec.structs.replace(PULSE, boot=1 << 63)]), "numbers that no node gives"),
        (Pulses([msgspec.structs.replace(PULSE, wall=float("-inf"))]), "numbers that no node gives"),
        (Pulses([msgspec.structs.replace(PULSE, number=-1)]), "numbers that no node gives"),
        (Want([("site", "pods", "default", "x", BODY)] * (MAX_WANTED + 1)), "places"),
        (Found([GOOD] * (MAX_WANTED + 1)), "registers"),
    ],
)
def test_words_that_no_peer_would_say_are_refused(message: SyncMessage, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        session().receive(message, {})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Hello(99, NOW, []), "version 99 is not spoken here"),
        (Hello(VERSION, NOW + MAX_SKEW_S + 1, []), "the clock of gw-b is 10 min ahead"),
        (Refused("go away"), "go away"),
    ],
)
def test_who_cannot_replicate_now_is_told_why(message: SyncMessage, reason: str) -> None:
    with pytest.raises(DeniedError, match=reason):
        fresh().receive(message, {})


@pytest.mark.parametrize("wall", [float("-inf"), float("inf"), float("nan"), -1.0])
def test_a_clock_that_no_clock_shows_is_refused(wall: float) -> None:
    with pytest.raises(ProtocolError, match="a clock that says"):
        fresh().receive(Hello(VERSION, wall, []), {})


@pytest.mark.parametrize("message", [Vector({}, {}, 0), Delta(B, 0, 1, [GOOD]), Pulses([]), Fresh(), Standing({})])
def test_nothing_is_said_before_the_hello(message: SyncMessage) -> None:
    with pytest.raises(ProtocolError, match="out of turn"):
        fresh().receive(message, {})


def test_a_delta_before_the_vector_is_refused() -> None:
    made = fresh()
    made.receive(Hello(VERSION, NOW, []), {})
    with pytest.raises(ProtocolError, match="before the vector"):
        made.receive(Delta(B, 0, 1, [GOOD]), {})


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(ProtocolError, match="keys"):
        fresh().receive(Hello(VERSION, NOW, [b"k"] * (MAX_KEYS + 1)), {})


def test_a_limited_node_passes_nothing_on() -> None:
    made = session(limited=True)
    made.receive(Delta(B, 0, 1, [GOOD]), {})
    with pytest.raises(ProtocolError, match="a limited node passes on"):
        made.receive(Delta(C, 0, 1, []), {})


@given(st.data())
def test_damaged_messages_raise_declared_errors_only(data: st.DataObject) -> None:
    messages: list[SyncMessage] = [
        Delta(B, 0, 1, [GOOD], copy=True), Vector({B: 1}, {B: 1}, 0), Pulses([PULSE]), Want([GOOD.place]), Found([GOOD]),
        Standing({B: 1}), Fresh(), Certificates([CERTIFICATE]),
    ]  # fmt: skip
    valid = b"".join(framed(SYNC.encode(message)) for message in data.draw(st.permutations(messages)))
    damaged = bytearray(valid)
    for position in data.draw(st.lists(st.integers(0, len(valid) - 1), max_size=8)):
        damaged[position] = data.draw(st.integers(0, 255))
    frames, made = Frames(), session()
    made.copying = True
    try:
        for cut in range(0, len(damaged), step := data.draw(st.integers(1, 40))):
            frames.feed(damaged[cut : cut + step])
            while (frame := frames.next()) is not None:
                made.receive(SYNC.decode(frame), {B: 1})
    except (ProtocolError, DeniedError):
        pass
