import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import DeniedError, ProtocolError
from edged.hub.connect import Connect
from edged.kit.address import Address
from edged.kit.proxy import parse_proxy

RELAY = Address("relay.example.com", 443)
PROXY = parse_proxy("http://user:secret@proxy.example:3128", "hub.proxy")


def test_the_proxy_is_asked_for_the_relay_with_user_and_password() -> None:
    request = Connect(PROXY, RELAY).request
    assert request.startswith(b"CONNECT relay.example.com:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in request
    assert b"Authorization" not in Connect(parse_proxy("proxy.example:3128", ""), RELAY).request
    assert Connect(PROXY, Address("2001:db8::1", 7443)).request.startswith(b"CONNECT [2001:db8::1]:7443 ")


def test_it_is_through_when_the_proxy_says_so() -> None:
    answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
    for cut in range(1, len(answer)):
        connect = Connect(PROXY, RELAY)
        assert not connect.receive(answer[:cut])
        assert connect.receive(answer[cut:])
    assert Connect(PROXY, RELAY).receive(b"HTTP/1.1 100 Continue\r\n\r\n" + answer)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            DeniedError,
            "407 Proxy Authentication Required: it wants",
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            DeniedError,
            r"proxy.example:3128 \(hub.proxy\) refuses: 403 Forbidden",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", ProtocolError, "refuses: 502 Bad Gateway"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError, "speaks no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", ProtocolError, "sends bytes"),
        (b"", ProtocolError, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20000, ProtocolError, "speaks no HTTP"),
    ],
)
def test_what_goes_wrong_is_one_line_without_the_password(answer: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        Connect(PROXY, RELAY).receive(answer)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(1, 255))
def test_only_declared_errors(noise: bytes, at: int, flip: int) -> None:
    good = bytearray(b"HTTP/1.1 200 Connection established\r\nContent-Length: 3\r\nVia: 1.1 x\r\n\r\n")
    damaged = bytearray(good)
    damaged[at % len(good)] ^= flip
    for data in (noise, bytes(damaged), bytes(good[:at]) + noise, b"HTTP/1.1 " + noise):
        try:
            Connect(PROXY, RELAY).receive(data)
        except (ProtocolError, DeniedError):
            pass
