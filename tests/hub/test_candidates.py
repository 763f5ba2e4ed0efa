from hypothesis import given
from hypothesis import strategies as st

from edged.hub.candidates import MAX_OUTSIDE, candidates, outside
from edged.kit.address import Address


def test_candidates_are_filtered() -> None:
    told = ["10.0.0.1:7400", "10.0.0.1:7400", "127.0.0.1:1", "224.0.0.1:1", "0.0.0.0:1", "169.254.96.16:7400", "10.0.0.2:0"]
    told += ["255.255.255.255:1", "gw-b:7400", "nonsense", "[2001:db8::1]:7400"]
    assert candidates(told, ipv6=False, loopback=False) == [("10.0.0.1", 7400)]
    assert candidates(told, ipv6=True, loopback=True) == [("10.0.0.1", 7400), ("127.0.0.1", 1), ("2001:db8::1", 7400)]
    assert len(candidates([f"10.0.1.{i}:1" for i in range(99)], ipv6=False, loopback=False)) == 16


@given(st.lists(st.text(max_size=30)))
def test_any_text_is_taken_or_left(told: list[str]) -> None:
    for address in candidates(told, ipv6=True, loopback=True):
        assert address.ip is not None


def test_where_others_see_us() -> None:
    mapped, elsewhere = Address("198.51.100.1", 31_000), Address("198.51.100.1", 7400)
    assert outside([mapped], "198.51.100.1:50000", [], 7400) == [mapped]
    assert outside([], "198.51.100.1:50000", [], 7400) == [elsewhere]
    assert outside([], "[2001:db8::1]:50000", [], 7400) == [Address("2001:db8::1", 7400)]
    assert outside([], None, [mapped, None], 7400) == []
    assert outside([], None, [mapped, None, mapped, elsewhere], 7400) == [mapped]
    assert len(outside([Address("198.51.100.1", port) for port in range(1, 9)], None, [], 7400)) == MAX_OUTSIDE
