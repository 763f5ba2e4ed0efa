import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from edged.wire.endpoint import SIZE, packed, unpacked


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_comes_back(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    data = packed(str(ip), port)
    assert len(data) == SIZE
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    assert unpacked(data) == (str(mapped or ip), port)


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_bytes_are_some_address(data: bytes) -> None:
    host, port = unpacked(data)
    assert packed(host, port) == data
