import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.wire.peer import (
    ANSWER,
    CONTROL,
    FLOWS,
    MAX_DATAGRAM,
    OPENING,
    Accepted,
    Candidates,
    Control,
    Credit,
    Datagram,
    Ended,
    Flow,
    Flows,
    Hello,
    Logs,
    Nonce,
    Opened,
    Opening,
    Proof,
    Refused,
    Said,
    Sync,
    Tunnel,
    proof_input,
)

OPENINGS: list[Opening] = [
    *(Sync(1), Flows(1), Tunnel("default", "web", 80, "web-0")),
    Logs("default", "web-0", "c", follow=True, tail=5),
]
SAID: list[Said] = [
    Flow(1, "default", "dns", 53, "dns-0"),
    Datagram(1, b"x" * MAX_DATAGRAM),
    Datagram(2**63, b""),
    Ended(1, "why"),
]


def test_every_message_comes_back() -> None:
    said: list[Control] = [Hello(1), Nonce(1, b"n" * 32), Proof(b"c", b"s"), Accepted(b"k" * 32)]
    said += [Candidates(["192.0.2.1:7400"]), Candidates([], wanted=False), Credit(4, 1 << 20)]
    for message in said:
        assert CONTROL.decode(CONTROL.encode(message)) == message
    for opening in OPENINGS:
        assert OPENING.decode(OPENING.encode(opening)) == opening
    for words in SAID:
        assert FLOWS.decode(FLOWS.encode(words)) == words
    for answer in (Opened(), Refused("why")):
        assert ANSWER.decode(ANSWER.encode(answer)) == answer


@given(st.data())
def test_damaged_openings_raise_the_declared_error_only(data: st.DataObject) -> None:
    text = bytearray(OPENING.encode(data.draw(st.sampled_from(OPENINGS))))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        OPENING.decode(text)
    except ProtocolError:
        pass


@given(st.data())
def test_damaged_words_of_flows_raise_the_declared_error_only(data: st.DataObject) -> None:
    text = bytearray(FLOWS.encode(data.draw(st.sampled_from([SAID[0], SAID[2], SAID[3]]))))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        FLOWS.decode(text[: data.draw(st.integers(0, len(text)))])
    except ProtocolError:
        pass


def test_one_kind_of_word_is_not_taken_for_another() -> None:
    with pytest.raises(ProtocolError):
        OPENING.decode(CONTROL.encode(Hello(1)))
    with pytest.raises(ProtocolError):
        ANSWER.decode(OPENING.encode(Sync(1)))


def test_a_node_of_before_wishes_wants_its_links() -> None:
    assert CONTROL.decode(msgspec.msgpack.encode(["Candidates", ["192.0.2.1:7400"]])) == Candidates(
        ["192.0.2.1:7400"], wanted=True
    )


def test_a_proof_is_bound_to_nonce_and_server() -> None:
    assert len({proof_input(b"n", b"a"), proof_input(b"m", b"a"), proof_input(b"n", b"b")}) == 3
