import struct
from typing import Any

import pytest

from edged.device.mapper import PropertyError
from edged.device.modbus.pdu import RefusedError, SilentError, mask_write, read, writes
from edged.device.modbus.registers import COIL, DISCRETE, HOLDING, INPUT
from edged.device.modbus.visitor import register
from edged.errors import ProtocolError


def place(kind: str = "HoldingRegister", type_: str = "BYTES", **more: Any) -> Any:
    return register(type_, {"register": kind, "offset": 3, **more})


def pdus(*arguments: Any) -> list[bytes]:
    return [request.pdu for request in writes(*arguments)]


def test_reads() -> None:
    assert read(COIL, 3, 9).pdu == b"\x01\0\3\0\x09"
    assert read(DISCRETE, 3, 1).pdu == b"\x02\0\3\0\1"
    assert read(HOLDING, 3, 2).pdu == b"\x03\0\3\0\2"
    assert read(INPUT, 0x1234, 125).pdu == b"\x04\x12\x34\0\x7d"
    assert [read(COIL, 0, n).size for n in (1, 8, 9, 2000)] == [1, 1, 2, 250]


def test_writes_and_what_to_do_without_a_function() -> None:
    assert pdus(place("CoilRegister", "BOOLEAN"), b"\1") == [b"\x05\0\3\xff\0", b"\x0f\0\3\0\1\1\1"]
    assert pdus(place("CoilRegister", "BOOLEAN"), b"\0") == [b"\x05\0\3\0\0", b"\x0f\0\3\0\1\1\0"]
    assert pdus(place(), b"\x12\x34") == [b"\x06\0\3\x12\x34", b"\x10\0\3\0\1\2\x12\x34"]
    assert pdus(place(limit=2), b"\x12\x34\0\5") == [b"\x10\0\3\0\2\4\x12\x34\0\5"]


def test_a_bit_is_a_mask_write() -> None:
    bit = place(type_="BOOLEAN", bit=4)
    assert pdus(bit, bit.encode(True)) == [b"\x16\0\3\xff\xef\0\x10"]
    assert pdus(bit, bit.encode(False)) == [b"\x16\0\3\xff\xef\0\0"]
    swapped = place(type_="BOOLEAN", bit=4, isSwap=True)
    assert pdus(swapped, swapped.encode(True)) == [b"\x16\0\3\xef\xff\x10\0"]


def test_answers() -> None:
    assert read(HOLDING, 3, 2).data(b"\x03\4\x12\x34\0\5") == b"\x12\x34\0\5"
    assert read(COIL, 3, 9).data(b"\x01\2\xff\1") == b"\xff\1"
    for request in [
        *writes(place(), b"\0\1"),
        *writes(place("CoilRegister", "BOOLEAN"), b"\1"),
        mask_write(3, b"\0\1", b"\0\0"),
    ]:
        assert request.data(request.pdu[:1] + request.echo) == b""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x04\4\x12\x34\0\5", "function 3 with function 4"),
        (b"\x84\2", "function 3 with function 132"),
        (b"\x03\2\x12\x34", "2 bytes of data, asked were 4"),
        (b"\x03\4\x12\x34\0", "answers with 5 bytes, asked were 6"),
        (b"\x83", "answers with 1 bytes, asked were 2"),
    ],
)
def test_nonsense_is_called_so(answer: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        read(HOLDING, 3, 2).data(answer)


def test_a_write_is_confirmed_as_it_was_asked() -> None:
    with pytest.raises(ProtocolError, match="not asked for"):
        writes(place(), b"\x12\x34")[0].data(b"\x06\0\3\x12\x35")


def test_exceptions_in_words() -> None:
    for code, said in ((2, "illegal data address"), (6, "server device busy"), (99, "unknown")):
        with pytest.raises(RefusedError, match=rf"exception {code} \({said}\)") as caught:
            read(HOLDING, 3, 2).data(struct.pack("BB", 0x83, code))
        assert isinstance(caught.value, PropertyError)
        assert caught.value.code == code
    with pytest.raises(SilentError, match="behind the gateway does not respond"):
        read(HOLDING, 3, 2).data(b"\x83\x0b")
