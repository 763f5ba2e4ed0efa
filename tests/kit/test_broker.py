import pytest

from edged.kit.address import Address
from edged.kit.broker import parse_broker


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://127.0.0.1:1883", (Address("127.0.0.1", 1883), False)),
        ("ssl://broker.example", (Address("broker.example", 8883), True)),
        ("mqtt://[::1]", (Address("::1", 1883), False)),
        ("127.0.0.1:1884", (Address("127.0.0.1", 1884), False)),
    ],
)
def test_addresses_as_people_write_them(text: str, expected: tuple[Address, bool]) -> None:
    assert parse_broker(text) == expected


@pytest.mark.parametrize(
    "text", ["http://a", "tcp://", "tcp://u:p@a", "tcp://a:x", "tcp://a:0", "tcp://a/topic", "tcp://[::1", "tcp://a b"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected tcp://host"):
        parse_broker(text)
