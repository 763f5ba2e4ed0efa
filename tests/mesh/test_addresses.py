from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.mesh.addresses import NETWORK, alias, aliases, allocate, is_service_address, twin

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)


@given(NAMES, NAMES)
def test_the_same_name_has_the_same_address(namespace: str, name: str) -> None:
    address = allocate(namespace, name, ())
    assert address == allocate(namespace, name, set())
    assert is_service_address(address)
    assert IPv4Address(address) in IPv4Network(NETWORK)
    assert not address.startswith("9.251.0.")
    assert address != "9.251.255.255"


@given(NAMES, st.integers(1, 50))
def test_services_that_collide_get_different_addresses(name: str, count: int) -> None:
    used: set[str] = set()
    for _ in range(count):  # the same name each time: the worst of collisions
        address = allocate("default", name, used)
        assert address not in used
        used.add(address)
    assert len(used) == count


def test_the_probe_goes_around_the_end() -> None:
    last, first = "9.251.255.254", "9.251.1.0"
    free = {first}

    class AllBut:
        def __contains__(self, address: object) -> bool:
            return address not in free

    assert allocate("default", "web", AllBut()) == first
    free = {last}
    assert allocate("default", "web", AllBut()) == last


def test_a_full_network_is_said() -> None:
    class Everything:
        def __contains__(self, address: object) -> bool:
            return True

    with pytest.raises(InvalidError, match=r"no address is free in 9\.251\.0\.0/16 for service default/web"):
        allocate("default", "web", Everything())


@pytest.mark.parametrize(
    "text", ["", "None", "10.0.0.1", "9.251.0.1", "9.251.255.255", "9.252.1.1", "9.251.1", "::1", "9.251.1.1 "]
)
def test_other_addresses_are_none_of_a_service(text: str) -> None:
    assert not is_service_address(text)


@pytest.mark.parametrize(
    ("address", "loopback", "expected"),
    [
        ("9.251.1.2", "127.96.0.0/16", "127.96.1.2"),
        ("9.251.255.254", "127.96.0.0/16", "127.96.255.254"),
        ("9.251.1.2", "127.97.0.0/16", "127.97.1.2"),
    ],
)
def test_the_twin_has_the_same_low_half(address: str, loopback: str, expected: str) -> None:
    assert twin(address, loopback) == expected


def test_a_pods_alias_has_its_own_low_part() -> None:
    assert alias("10.42.7.3", IPv4Network("10.42.0.0/16")) == "240.42.7.3"
    assert alias("10.9.19.3", IPv4Network("10.9.16.0/22")) == "240.42.3.3"
    assert aliases(IPv4Network("10.9.16.0/22")) == IPv4Network("240.42.0.0/22")
