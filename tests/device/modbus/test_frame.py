"""The parsers against another implementation's encoder, and against everything that is no answer."""

import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from edged.device.mapper import PropertyError
from edged.device.modbus import frame
from edged.device.modbus.frame import RtuExchange, TcpFrames, crc
from edged.device.modbus.pdu import Request, SilentError, mask_write, read, writes
from edged.device.modbus.registers import COIL, HOLDING
from edged.device.modbus.visitor import register
from edged.errors import ProtocolError

UNIT, TRANSACTION = 7, 1
READ = read(HOLDING, 3, 2)
ANSWER = b"\x03\x04\x12\x34\x00\x05"
DATA = ANSWER[2:]
PLACE = register("BYTES", {"register": "HoldingRegister", "offset": 3})
REQUESTS = (READ, read(COIL, 3, 1), *writes(PLACE, b"\x12\x34"), mask_write(3, b"\xff\0", b"\0\1"))


def tcp(pdu: bytes, *, transaction: int = TRANSACTION, protocol: int = 0, unit: int = UNIT, length: int | None = None) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


def rtu(pdu: bytes, *, unit: int = UNIT) -> bytes:
    return bytes([unit]) + pdu + crc(bytes([unit]) + pdu)


def asking(*requests: Request) -> TcpFrames:
    frames = TcpFrames()
    for request in requests or (READ,):
        frames.ask(UNIT, request)
    return frames


@pytest.mark.parametrize("request_", REQUESTS)
def test_another_implementation_understands_what_is_asked(request_: Request) -> None:
    transaction, outgoing = TcpFrames().ask(UNIT, request_)
    assert (transaction, outgoing) == (TRANSACTION, tcp(request_.pdu))
    used, _ = FramerSocket(DecodePDU(is_server=True)).handleFrame(outgoing, UNIT, TRANSACTION)
    assert used == len(outgoing)
    serial = RtuExchange(UNIT, request_).outgoing
    used, _ = FramerRTU(DecodePDU(is_server=True)).handleFrame(serial, UNIT, 0)
    assert used == len(serial)


@given(st.binary(max_size=260))
def test_checksums_are_those_of_another_implementation(data: bytes) -> None:
    assert crc(data) == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_answers_byte_by_byte() -> None:
    frames, exchange = asking(), RtuExchange(UNIT, READ)
    found = [frames.receive(bytes([byte])) for byte in tcp(ANSWER)]
    assert found == [[]] * (len(found) - 1) + [[(TRANSACTION, DATA)]]
    heard = [exchange.receive(bytes([byte])) for byte in rtu(ANSWER)]
    assert heard == [None] * (len(heard) - 1) + [DATA]


def test_several_under_way_are_told_apart() -> None:
    frames = asking(READ, READ, READ)
    frames.forget(2)
    assert frames.receive(tcp(ANSWER, transaction=3) + tcp(ANSWER, transaction=2)) == [(3, DATA)]
    ((transaction, refused),) = frames.receive(tcp(b"\x83\2"))
    assert transaction == 1
    assert isinstance(refused, PropertyError)
    with pytest.raises(ProtocolError, match="transaction 2, asked was nothing"):
        frames.receive(tcp(ANSWER, transaction=2))


def test_late_answers_are_known_up_to_a_limit() -> None:
    frames = TcpFrames()
    for _ in range(frame.MAX_LATE + 1):
        frames.forget(frames.ask(UNIT, READ)[0])
    last, _ = frames.ask(UNIT, READ)
    assert frames.receive(tcp(ANSWER, transaction=2) + tcp(ANSWER, transaction=last)) == [(last, DATA)]
    with pytest.raises(ProtocolError, match="transaction 1"):
        frames.receive(tcp(ANSWER, transaction=1))


def test_transactions_begin_again() -> None:
    frames = TcpFrames()
    frames._transaction = frame.TRANSACTIONS - 3
    for _ in range(6):
        transaction, _ = frames.ask(UNIT, READ)
        assert frames.receive(tcp(ANSWER, transaction=transaction)) == [(transaction, DATA)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (tcp(ANSWER, transaction=9), "transaction 9, asked was 1"),
        (tcp(ANSWER, protocol=1), "protocol 1, asked was 0"),
        (tcp(ANSWER, unit=8), "unit 8, asked was 7"),
        (tcp(b"\x04" + ANSWER[1:]), "function 3 with function 4"),
        (tcp(b"\x03\x02\x12\x34"), "2 bytes of data, asked were 4"),
        (tcp(ANSWER, length=300), "announces 300 bytes, its answer takes 7"),
        (tcp(ANSWER, length=0), "announces 0 bytes"),
        (tcp(ANSWER) + b"\x00", "1 bytes more than its answer"),
        (tcp(b"\x03"), "announces 2 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "transaction"),
    ],
)
def test_nonsense_over_tcp(answer: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        asking().receive(answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (rtu(ANSWER, unit=8), "unit 8, asked was 7"),
        (rtu(b"\x04" + ANSWER[1:]), "function 3 with function 4"),
        (rtu(b"\x03\x02\x12\x34"), "2 bytes of data, asked were 4"),
        (rtu(ANSWER)[:-1] + b"\0", "wrong checksum"),
        (rtu(ANSWER) + b"\0", "1 bytes more"),
        (b"\0" + rtu(ANSWER), "unit 0, asked was 7"),
    ],
)
def test_nonsense_on_a_serial_line(answer: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        RtuExchange(UNIT, READ).receive(answer)


def test_exceptions_of_a_serial_line() -> None:
    with pytest.raises(PropertyError, match=r"exception 2 \(illegal data address\)"):
        RtuExchange(UNIT, READ).receive(rtu(b"\x83\x02"))
    with pytest.raises(SilentError, match="does not respond"):
        RtuExchange(UNIT, READ).receive(rtu(b"\x83\x0b"))


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


def damaged(frame_of: Callable[[bytes], bytes]) -> st.SearchStrategy[bytes]:
    answers = [frame_of(pdu) for pdu in (ANSWER, b"\x83\x02", b"\x03\x04\xff\xff\xff\xff")]
    mutated = st.builds(
        lambda answer, mutations: answer if not mutations else mutate(mutate(answer, *mutations[0]), *mutations[-1]),
        st.sampled_from(answers),
        st.lists(MUTATIONS, max_size=2),
    )
    return st.one_of(st.binary(max_size=300), mutated)


def pieces(data: bytes, piece: int) -> Iterator[bytes]:
    return (data[start : start + piece] for start in range(0, len(data), piece))


@settings(max_examples=400)
@given(damaged(tcp), st.integers(1, 300))
@example(b"", 1)
def test_only_declared_errors_come_of_tcp(data: bytes, piece: int) -> None:
    frames = asking()
    try:
        for part in pieces(data, piece):
            for transaction, outcome in frames.receive(part):
                assert transaction == TRANSACTION
                whole = isinstance(outcome, bytes) and data.startswith(tcp(b"\x03\x04" + outcome))
                assert whole or isinstance(outcome, PropertyError | SilentError)
                return
    except ProtocolError as error:
        assert str(error)


@settings(max_examples=400)
@given(damaged(rtu), st.integers(1, 300))
def test_only_declared_errors_come_of_rtu(data: bytes, piece: int) -> None:
    exchange = RtuExchange(UNIT, READ)
    try:
        for part in pieces(data, piece):
            found = exchange.receive(part)
            if found is not None:
                assert data.startswith(rtu(b"\x03\x04" + found))
                return
    except (ProtocolError, PropertyError, SilentError) as error:
        assert str(error)


def answers() -> Iterator[tuple[Request, bytes]]:
    """Each request with its answer, and with an exception."""
    for request in (*REQUESTS, read(HOLDING, 3, 20)):
        data = bytes([request.size]) + b"\1" * request.size if request.size else request.echo
        yield request, request.pdu[:1] + data
        yield request, bytes([request.pdu[0] | 0x80, 2])


def damages(good: bytes) -> Iterator[bytes]:
    """Every byte with every other value, and the frame cut at every length."""
    for at in range(len(good)):
        yield good[:at]
        yield from (good[:at] + bytes([value]) + good[at + 1 :] for value in range(256) if value != good[at])


def test_fifty_thousand_damaged_frames() -> None:
    tried = 0
    for request, pdu in answers():
        for data in damages(tcp(pdu)):
            tried += 1
            try:
                asking(request).receive(data)
            except ProtocolError as error:
                assert str(error)
        for data in damages(rtu(pdu)):
            tried += 1
            try:
                assert RtuExchange(UNIT, request).receive(data) is None, data.hex(" ")  # its checksum would be wrong
            except ProtocolError as error:
                assert str(error)
    assert tried >= 50_000
