import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edged.wire.sync import BODY, MAX_DELTA, MAX_DELTA_BYTES, SYNC, Delta, Hello, Refused, Register, Vector

register = st.builds(
    Register,
    resource=st.just("pods"),
    namespace=st.sampled_from(["", "default"]),
    name=st.text(min_size=1, max_size=10),
    part=st.sampled_from(["body", "status"]),
    uid=st.text(max_size=5),
    origin=st.sampled_from(["gw-a:1", "gw-b:1"]),
    seq=st.integers(1, 5),
    clock=st.integers(0, 3),
    value=st.none() | st.binary(max_size=20),
)


@given(register, register, register)
def test_who_beats_whom_is_a_total_order(a: Register, b: Register, c: Register) -> None:
    assert not a.beats(a)
    if (a.clock, a.origin, a.seq) != (b.clock, b.origin, b.seq):
        assert a.beats(b) != b.beats(a)
    if a.beats(b) and b.beats(c):
        assert a.beats(c)


@given(st.lists(register, max_size=5))
def test_every_message_comes_back(registers: list[Register]) -> None:
    for message in (
        Hello(1, 7.5, [b"k"]),
        Vector({"gw-a:1": 5}, {"gw-a:1": 2}, 77),
        Delta("gw-a:1", 0, 9, registers),
        Refused("why"),
    ):
        assert SYNC.decode(SYNC.encode(message)) == message


def test_the_largest_delta_fits_a_frame() -> None:
    one = Register("r" * 253, "n" * 253, "m" * 253, BODY, "u" * 36, "o" * 253, 1 << 60, 1 << 60, b"", b"s" * 72)
    share = msgspec.structs.replace(one, value=bytes(MAX_DELTA_BYTES // MAX_DELTA))
    assert len(SYNC.encode(Delta("o" * 253, 0, 1 << 60, [share] * MAX_DELTA))) < 1 << 20
