import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.sync.clock import MAX_SKEW_S, Clock, at
from edged.sync.session import MAX_ORIGINS, Session
from edged.wire.codec import VERSION, Frames, framed
from edged.wire.sync import BODY, SYNC, Delta, Refused, Register, Vector

NOW = 1_000_000.0
POD = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0"},"spec":{}}'
GOOD = Register("pods", "default", "web-0", BODY, "u", "gw-b:1", 1, at(NOW), POD)


def session() -> Session:
    made = Session(Clock(lambda: NOW))
    made.receive(Vector(VERSION, {}, 0))
    return made


def test_nothing_is_lacking_before_the_peer_said_what_it_holds() -> None:
    made = Session(Clock(lambda: NOW))
    assert made.lacking({"gw-a:1": 5}) == []
    made.receive(Vector(VERSION, {"gw-a:1": 2, "gw-b:1": 9}, 0))
    assert made.lacking({"gw-a:1": 5, "gw-c:1": 1, "gw-b:1": 4}) == [("gw-a:1", 2), ("gw-c:1", 0)]


def test_what_was_sent_or_heard_is_not_sent_again() -> None:
    made = session()
    made.sent(Delta("gw-a:1", 0, 3, []))
    assert made.lacking({"gw-a:1": 3}) == []
    assert made.lacking({"gw-a:1": 4}) == [("gw-a:1", 3)]
    assert made.receive(Delta("gw-b:1", 0, 1, [GOOD])) is not None
    assert made.lacking({"gw-b:1": 1}) == []


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Vector(99, {}, 0), "version 99 is not spoken here"),
        (Vector(VERSION, {"x": -1}, 0), "up to -1"),
        (Vector(VERSION, {str(n): 1 for n in range(MAX_ORIGINS + 1)}, 0), "origins"),
        (Vector(VERSION, {}, at(NOW + MAX_SKEW_S + 1)), "too far ahead"),
        (Refused("go away"), "go away"),
        (Delta("gw-b:1", 5, 1, []), "from 5 to 1"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, origin="gw-c:1")]), "gw-c:1"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, seq=2)]), "a register 2"),
        (Delta("gw-b:1", 0, 2, [GOOD, GOOD]), "after 1"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, part="both")]), "bad key"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, name="")]), "bad key"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, name="x" * 254)]), "bad key"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, clock=at(NOW + MAX_SKEW_S + 1))]), "future"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, value=b"{}")]), "not a body of its kind"),
        (Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, value=b"[" * 100_000)]), "not a body of its kind"),
        (
            Delta("gw-b:1", 0, 1, [msgspec.structs.replace(GOOD, part="status", value=b'{"phase":7}')]),
            "not a status of its kind",
        ),
    ],
)
def test_words_that_no_peer_would_say_are_refused(message: Vector | Delta | Refused, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        session().receive(message)


def test_a_delta_before_the_vector_is_refused() -> None:
    with pytest.raises(ProtocolError, match="before the vector"):
        Session(Clock(lambda: NOW)).receive(Delta("gw-b:1", 0, 1, [GOOD]))


def test_a_refused_delta_does_not_move_the_clock() -> None:
    clock = Clock(lambda: NOW)
    made = Session(clock)
    made.receive(Vector(VERSION, {}, 0))
    ahead = msgspec.structs.replace(GOOD, clock=at(NOW + 60))
    with pytest.raises(ProtocolError):
        made.receive(Delta("gw-b:1", 0, 2, [ahead, msgspec.structs.replace(GOOD, seq=1)]))
    assert clock.latest == 0


@given(st.data())
def test_damaged_messages_raise_protocol_errors_only(data: st.DataObject) -> None:
    valid = framed(SYNC.encode(Delta("gw-b:1", 0, 1, [GOOD]))) + framed(SYNC.encode(Vector(VERSION, {"a": 1}, 7)))
    damaged = bytearray(valid)
    for position in data.draw(st.lists(st.integers(0, len(valid) - 1), max_size=8)):
        damaged[position] = data.draw(st.integers(0, 255))
    frames, made = Frames(), session()
    try:
        for cut in range(0, len(damaged), step := data.draw(st.integers(1, 40))):
            frames.feed(damaged[cut : cut + step])
            while (frame := frames.next()) is not None:
                made.receive(SYNC.decode(frame))
    except ProtocolError:
        pass
