import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.kit.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("0.0.0.0:0", "0.0.0.0", 0, False),
        ("[::1]:65535", "::1", 65535, True),
        ("[2001:db8::1]:1", "2001:db8::1", 1, False),
        ("relay.example.com:443", "relay.example.com", 443, False),
        ("localhost:1", "localhost", 1, True),
    ],
)
def test_an_address_is_parsed_and_written_back(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse_address(text)
    assert address == Address(host, port)
    assert str(address) == text
    assert address.loopback == loopback


@pytest.mark.parametrize(
    "text",
    ["", "x", ":1", "x:", "x:-1", "x:65536", "x:\u0661", "::1:80", "[x]:1", "[127.0.0.1]:1", "a b:1", "-a:1", "a..b:1"],
)
def test_what_is_no_address_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        parse_address(text)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address
