"""The client's parser against the server's own encoder, and against everything that is not its answer."""

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU

from edged.device.frame import Exchange
from edged.device.mapper import PropertyError
from edged.device.registers import Register, register
from edged.errors import ProtocolError, UnreachableError

UNIT, TRANSACTION = 7, 0x0102
SERVER = FramerSocket(DecodePDU(is_server=True))


def place(kind: str, limit: int = 1, type_: str = "BYTES") -> Register:
    return register(type_, {"register": kind, "offset": 3, "limit": limit})


def frame(
    pdu: bytes, *, transaction: int = TRANSACTION, protocol: int = 0, unit: int = UNIT, length: int | None = None
) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


def asking(kind: str = "HoldingRegister", limit: int = 2) -> Exchange:
    return Exchange.read(place(kind, limit, "BOOLEAN" if "Coil" in kind or "Discrete" in kind else "BYTES"), UNIT, TRANSACTION)


def writing(*words: int) -> Exchange:
    return Exchange.write(place("HoldingRegister", len(words)), words, UNIT, TRANSACTION)


@pytest.mark.parametrize(
    ("exchange", "pdu"),
    [
        (asking("HoldingRegister"), b"\x03\x00\x03\x00\x02"),
        (asking("InputRegister"), b"\x04\x00\x03\x00\x02"),
        (asking("CoilRegister", 1), b"\x01\x00\x03\x00\x01"),
        (asking("DiscreteInputRegister", 1), b"\x02\x00\x03\x00\x01"),
        (writing(0x1234), b"\x06\x00\x03\x12\x34"),
        (writing(0x1234, 5), b"\x10\x00\x03\x00\x02\x04\x12\x34\x00\x05"),
        (Exchange.write(place("CoilRegister", 1, "BOOLEAN"), [1], UNIT, TRANSACTION), b"\x05\x00\x03\xff\x00"),
        (Exchange.write(place("CoilRegister", 1, "BOOLEAN"), [0], UNIT, TRANSACTION), b"\x05\x00\x03\x00\x00"),
    ],
)
def test_what_is_asked(exchange: Exchange, pdu: bytes) -> None:
    assert exchange.outgoing == frame(pdu)
    assert SERVER.handleFrame(exchange.outgoing, UNIT, TRANSACTION)[0] == len(exchange.outgoing)


def test_answers() -> None:
    assert asking("HoldingRegister").receive(frame(b"\x03\x04\x12\x34\x00\x05")) == [0x1234, 5]
    assert asking("InputRegister").receive(frame(b"\x04\x04\x12\x34\x00\x05")) == [0x1234, 5]
    assert asking("CoilRegister", 1).receive(frame(b"\x01\x01\x01")) == [1]
    assert asking("DiscreteInputRegister", 1).receive(frame(b"\x02\x01\xfe")) == [0]
    assert writing(0x1234).receive(frame(b"\x06\x00\x03\x12\x34")) == []
    assert writing(0x1234, 5).receive(frame(b"\x10\x00\x03\x00\x02")) == []


def test_an_answer_byte_by_byte() -> None:
    exchange = asking()
    answer = frame(b"\x03\x04\x12\x34\x00\x05")
    assert [exchange.receive(answer[i : i + 1]) for i in range(len(answer))] == [None] * (len(answer) - 1) + [[0x1234, 5]]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (frame(b"\x03\x04\x12\x34\x00\x05", transaction=9), "transaction 9, asked was 258"),
        (frame(b"\x03\x04\x12\x34\x00\x05", protocol=1), "protocol 1, asked was 0"),
        (frame(b"\x03\x04\x12\x34\x00\x05", unit=8), "unit 8, asked was 7"),
        (frame(b"\x04\x04\x12\x34\x00\x05"), "function 3 with function 4"),
        (frame(b"\x84\x02"), "function 3 with function 132"),
        (frame(b"\x03\x02\x12\x34"), "2 bytes of data, asked were 4"),
        (frame(b"\x03\x04\x12\x34\x00\x05", length=300), "announces 300 bytes, its answer takes 7"),
        (frame(b"\x03\x04\x12\x34\x00\x05", length=0), "announces 0 bytes"),
        (frame(b"\x03\x05\x12\x34\x00\x05"), "5 bytes of data, asked were 4"),
        (frame(b"\x03\x04\x12\x34\x00\x05") + b"\x00", "1 bytes more than its answer"),
        (frame(b"\x03"), "announces 2 bytes"),
        (frame(b""), "closes the connection after 7 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "transaction"),
    ],
)
def test_nonsense_is_called_so(answer: bytes, said: str) -> None:
    exchange = asking()
    with pytest.raises(ProtocolError, match=said):
        if exchange.receive(answer) is None:
            raise exchange.ended()


def test_a_write_is_confirmed_as_it_was_asked() -> None:
    with pytest.raises(ProtocolError, match="not asked for"):
        writing(0x1234).receive(frame(b"\x06\x00\x03\x12\x35"))


def test_exceptions_in_words() -> None:
    with pytest.raises(PropertyError, match=r"exception 2 \(illegal data address\)"):
        asking().receive(frame(b"\x83\x02"))
    with pytest.raises(PropertyError, match=r"exception 99 \(unknown\)"):
        asking().receive(frame(b"\x83\x63"))
    with pytest.raises(UnreachableError, match="behind the gateway does not respond"):
        asking().receive(frame(b"\x83\x0b"))


def test_the_end_of_a_connection() -> None:
    assert isinstance(asking().ended(), UnreachableError)
    exchange = asking()
    exchange.receive(frame(b"\x03\x04\x12\x34")[:5])
    assert str(exchange.ended()) == "closes the connection after 5 bytes of an answer"


ANSWERS = [frame(b"\x03\x04\x12\x34\x00\x05"), frame(b"\x83\x02"), frame(b"\x03\x04\xff\xff\xff\xff")]
MUTATIONS = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 12), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("repeat"), st.integers(0, 12), st.integers(1, 3)),
    st.tuples(st.just("insert"), st.integers(0, 12), st.integers(0, 255)),
)


def mutate(data: bytes, kind: str, at: int, with_: int) -> bytes:
    if kind == "flip" and at < len(data):
        return data[:at] + bytes([data[at] ^ with_]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "repeat":
        return data + data[:at] * with_
    return data[:at] + bytes([with_]) + data[at:]


@settings(max_examples=4000)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda answer, mutations: answer if not mutations else mutate(mutate(answer, *mutations[0]), *mutations[-1]),
            st.sampled_from(ANSWERS),
            st.lists(MUTATIONS, max_size=2),
        ),
    ),
    st.integers(1, 300),
)
@example(b"", 1)
def test_only_declared_errors_come_out(data: bytes, piece: int) -> None:
    exchange = asking()
    words = None
    for start in range(0, len(data), piece):
        try:
            words = exchange.receive(data[start : start + piece])
        except (ProtocolError, PropertyError, UnreachableError) as error:
            assert str(error)
            return
        if words is not None:
            assert len(words) == 2
            assert data[: start + piece].startswith(frame(b"\x03\x04" + struct.pack(">2H", *words)))
            return
    assert isinstance(exchange.ended(), ProtocolError if data else UnreachableError)


@settings(max_examples=1000)
@given(st.binary(max_size=20))
def test_a_right_header_before_any_data(data: bytes) -> None:
    for exchange in (asking(), writing(1), writing(1, 2), asking("CoilRegister", 1)):
        try:
            exchange.receive(frame(data))
        except (ProtocolError, PropertyError, UnreachableError) as error:
            assert str(error)
