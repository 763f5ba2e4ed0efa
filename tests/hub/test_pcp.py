import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub.pcp import Mapped, PmpAddress, PmpMapped, Refused, opened, pcp_map, pmp_address, pmp_map
from edged.kit.address import Address

NONCE = bytes(range(12))
OUTER = bytes(10) + b"\xff\xff" + bytes((203, 0, 113, 1))


def pcp_answer(*, result: int = 0, lifetime: int = 7200, nonce: bytes = NONCE, port: int = 7400, outer: int = 7401) -> bytes:
    head = bytes((2, 0x81, 0, result)) + lifetime.to_bytes(4, "big") + bytes(16)
    return head + nonce + bytes((17, 0, 0, 0)) + port.to_bytes(2, "big") + outer.to_bytes(2, "big") + OUTER


def pmp_answer(opcode: int, rest: bytes, result: int = 0) -> bytes:
    return bytes((0, 0x80 | opcode)) + result.to_bytes(2, "big") + bytes(4) + rest


ADDRESS = pmp_answer(0, bytes((203, 0, 113, 1)))
MAPPED = pmp_answer(1, (7400).to_bytes(2, "big") + (7401).to_bytes(2, "big") + (3600).to_bytes(4, "big"))


def test_requests_are_as_the_specifications_have_them() -> None:
    asked = pcp_map("192.168.1.2", 7400, 7400, 7200, NONCE)
    assert asked[:8] == bytes((2, 1, 0, 0)) + (7200).to_bytes(4, "big")
    assert asked[8:24] == bytes(10) + b"\xff\xff" + bytes((192, 168, 1, 2))
    assert asked[24:44] == NONCE + bytes((17, 0, 0, 0)) + (7400).to_bytes(2, "big") * 2
    assert len(asked) == 60
    assert pmp_address() == b"\x00\x00"
    assert pmp_map(7400, 7401, 7200) == bytes.fromhex("00010000") + bytes.fromhex("1ce81ce9") + (7200).to_bytes(4, "big")
    assert pmp_map(7400, 7401, 0)[6:] == bytes(6), "what is given back names no outer port"


def test_answers() -> None:
    assert opened(pcp_answer(), 7400, NONCE) == Mapped(Address("203.0.113.1", 7401), 7200)
    assert opened(pcp_answer(lifetime=0, outer=0), 7400, NONCE) == Mapped(Address("203.0.113.1", 0), 0)
    assert opened(pcp_answer(result=2), 7400, NONCE) == Refused(pcp=True, result=2)
    assert opened(ADDRESS, 7400, NONCE) == PmpAddress("203.0.113.1")
    assert opened(MAPPED, 7400, NONCE) == PmpMapped(7401, 3600)
    assert opened(pmp_answer(1, bytes(8), 2), 7400, NONCE) == Refused(pcp=False, result=2)
    assert opened(pmp_answer(1, b"", 1), 7400, NONCE) == Refused(pcp=True, result=1), "it speaks NAT-PMP only"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pcp_map("192.168.1.2", 7400, 7400, 7200, NONCE),
        pcp_answer(nonce=bytes(12)),
        pcp_answer(port=7399),
        pcp_answer(outer=0),
        pcp_answer()[:-16] + bytes(16),
        pcp_answer() + b"x",
        b"\x03" + pcp_answer()[1:],
        pmp_answer(2, bytes(8)),
        MAPPED[:-1],
        pmp_answer(1, bytes(8)),
        bytes(2000),
    ],
)
def test_what_answers_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        opened(data, 7400, NONCE)


MESSAGES = [pcp_answer(), ADDRESS, MAPPED]


def check(data: bytes) -> None:
    try:
        opened(data, 7400, NONCE)
    except ProtocolError:
        return


@given(st.sampled_from(MESSAGES), st.integers(0, 59), st.integers(0, 255), st.binary(max_size=70))
def test_damage_raises_protocol_error_only(answer: bytes, at: int, value: int, noise: bytes) -> None:
    damaged = bytearray(answer)
    damaged[at % len(answer)] = value
    whole = bytes(damaged)
    for data in (noise, whole, answer[:at], whole + noise, b"\x02\x81" + noise, b"\x00\x80" + noise):
        check(data)
