from hypothesis import given
from hypothesis import strategies as st

from edged.hub.candidates import candidates


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
