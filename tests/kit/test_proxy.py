import base64
from pathlib import Path

import pytest

from edged.errors import InvalidError
from edged.kit.address import Address
from edged.kit.proxy import chosen_proxy, from_environment, parse_proxy, without_password

RELAY = Address("relay.example.com", 443)


def test_a_proxy_as_people_write_it() -> None:
    for text in ("http://proxy.example:3128", "http://proxy.example:3128/", "proxy.example:3128"):
        proxy = parse_proxy(text, "hub.proxy")
        assert (proxy.address, proxy.authorization) == (Address("proxy.example", 3128), "")
    assert parse_proxy("http://[2001:db8::1]:3128", "").address == Address("2001:db8::1", 3128)


def test_user_and_password_are_sent_and_never_shown() -> None:
    proxy = parse_proxy("http://user:p%40ss%3Aword@proxy.example:3128", "hub.proxy")
    assert base64.b64decode(proxy.authorization.removeprefix("Basic ")) == b"user:p@ss:word"
    assert str(proxy) == "http://proxy.example:3128"
    assert proxy.authorization not in repr(proxy)
    assert parse_proxy("http://user@proxy.example:3128", "", "secret").authorization == (
        "Basic " + base64.b64encode(b"user:secret").decode()
    )


@pytest.mark.parametrize(
    "text",
    ["", "proxy.example", "https://proxy:1", "socks5://u:secret@proxy:1", "http://u:secret@proxy:99999", "http://p:1/path"],
)
def test_what_is_no_proxy_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="expected http://") as refused:
        parse_proxy(text, "hub.proxy")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@proxy:1", "http://user:***@proxy:1"),
        ("user:sec@ret@proxy:1", "user:***@proxy:1"),
        ("http://user@proxy:1", "http://user@proxy:1"),
        ("http://proxy:1", "http://proxy:1"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_setting(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_the_environment_names_a_proxy() -> None:
    assert from_environment({}, RELAY) is None
    assert from_environment({"HTTP_PROXY": "http://p:1"}, RELAY) is None
    for name in ("HTTPS_PROXY", "https_proxy"):
        proxy = from_environment({name: "http://p:1"}, RELAY)
        assert proxy is not None
        assert (proxy.address, proxy.source) == (Address("p", 1), name)
    assert from_environment({"HTTPS_PROXY": "http://p:1"}, Address("127.0.0.1", 7443)) is None
    assert from_environment({"HTTPS_PROXY": "http://p:1"}, Address("localhost", 7443)) is None
    with pytest.raises(ValueError, match="HTTPS_PROXY: expected http://") as refused:
        from_environment({"HTTPS_PROXY": "socks5://u:secret@p:1"}, RELAY)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("exceptions", "host", "excepted"),
    [
        ("*", "relay.example.com", True),
        ("example.com", "relay.example.com", True),
        ("a, .example.com ,b", "relay.example.com", True),
        ("*.example.com", "RELAY.example.com.", True),
        ("relay.example.com", "relay.example.com", True),
        ("relay.example.com:443", "relay.example.com", True),
        ("relay.example.com:80", "relay.example.com", False),
        ("ample.com", "relay.example.com", False),
        ("", "relay.example.com", False),
        (",,", "relay.example.com", False),
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7:443", "192.0.2.7", True),
        ("192.0.2.8,example.com", "192.0.2.7", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("[2001:db8::1]:443", "2001:db8::1", True),
        ("192.0.2.0/24", "2001:db8::1", False),
        ("2.7", "192.0.2.7", False),
    ],
)
def test_who_is_reached_without_it(exceptions: str, host: str, excepted: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        found = from_environment({"HTTPS_PROXY": "p:1", name: exceptions}, Address(host, 443))
        assert (found is None) == excepted


def test_the_password_of_the_proxy_may_be_in_a_file(tmp_path: Path) -> None:
    assert chosen_proxy("", "") is None
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "bytes").write_bytes(b"\xff")
    chosen = chosen_proxy("http://user@proxy:3128", str(tmp_path / "password"))
    assert chosen == parse_proxy("http://user:secret@proxy:3128", "hub.proxy")
    assert chosen_proxy("http://user@proxy:3128", "") == parse_proxy("http://user:@proxy:3128", "hub.proxy")
    for name, words in (("absent", "No such file"), ("bytes", "not text")):
        with pytest.raises(InvalidError, match=f"hub.proxy_password_file {tmp_path}/{name}: {words}"):
            chosen_proxy("http://user@proxy:3128", str(tmp_path / name))
