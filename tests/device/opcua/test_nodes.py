from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.opcua.nodes import MAX_QUEUE, Node, address, node, queue, times
from edged.errors import InvalidError

URL = {"url": "opc.tcp://10.0.0.7:4840"}


def test_kubeedges_sample() -> None:
    found = address(
        {
            "url": "opc.tcp://192.168.56.103:4840",
            "userName": "testuser",
            "passwordFile": "/ca/pass",
            "certificate": "/ca/clientcert.pem",
            "privateKey": "/ca/clientkey.pem",
            "securityMode": "Sign",
            "securityPolicy": "Basic256Sha256",
            "remoteCertificate": "/ca/servercert.pem",
        }
    )
    assert (found.user_name, found.security_mode, str(found)) == ("testuser", "Sign", "opc.tcp://192.168.56.103:4840")
    assert node("INT", {"nodeID": "ns=2;i=2"}) == Node("INT", "ns=2;i=2")


def test_a_password_is_not_shown() -> None:
    found = address({**URL, "username": "me", "password": "s3cret"})
    assert "s3cret" not in f"{found} {found!r} {[found]}"
    assert found != address({**URL, "username": "me", "password": "other"})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "url: is missing"),
        ({"url": "http://x"}, "url: expected opc.tcp://HOST:PORT"),
        ({"url": "opc.tcp://me:pw@x"}, "url: expected opc.tcp://HOST:PORT, without a user"),
        ({"url": "opc.tcp://x:99999"}, "url: expected"),
        ({**URL, "securityPolicy": "Basic256Sha256"}, "securityPolicy: .*do not go together"),
        ({**URL, "securityPolicy": "Basic128"}, "securityPolicy: expected one of Aes128"),
        ({**URL, "certificate": "/x"}, "certificate: expected together with its privateKey"),
        ({**URL, "password": "x"}, "userName: is missing"),
        ({**URL, "userName": "u", "password": "x", "passwordFile": "/x"}, "passwordFile: expected password or passwordFile"),
        ({**URL, "timeout": 0}, "timeout: "),
        ({**URL, "methods": {"go": {"objectId": "ns=2;s=a", "methodId": "x"}}}, r"methods\.go\.methodId: expected a NodeId"),
    ],
)
def test_mistakes_of_an_address(config: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        address(config)


@pytest.mark.parametrize(
    "text",
    ["i=85", "ns=2;s=a;b=c", "nsu=urn:x;i=7", "g=09087e75-8e5e-499b-954f-f2a9603db28a", "ns=1;b=M/RbKBsRVkePCePcx24oRA=="],
)
def test_node_ids(text: str) -> None:
    assert node("INT", {"nodeID": text, "browseName": "Boiler"}).node_id == text


@pytest.mark.parametrize("text", ["85", "ns=2", "ns=70000;i=1", "i=4294967296", "g=1", "b=!", "ns=x;i=1", "s=" + "x" * 600])
def test_what_is_no_node_id(text: str) -> None:
    with pytest.raises(InvalidError, match="nodeID: expected a NodeId such as"):
        node("INT", {"nodeID": text})


def test_paths() -> None:
    assert node("INT", {"browseName": "/2:Boiler/Level"}).path == ((2, "Boiler"), (0, "Level"))
    assert str(node("INT", {"browseName": "2:Boiler/3:Level"})) == "2:Boiler/3:Level"
    for text in ("2:Boiler//x", "/", "99999:x"):
        with pytest.raises(InvalidError, match="browseName: expected a path"):
            node("INT", {"browseName": text})
    with pytest.raises(InvalidError, match="nodeID: is missing; or give browseName"):
        node("INT", {})
    with pytest.raises(InvalidError, match="holds no STREAM"):
        node("STREAM", {"nodeID": "i=1"})


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    for field in ("nodeID", "browseName"):
        try:
            assert str(node("INT", {field: text}))
        except InvalidError:
            pass


def test_how_a_subscription_is_asked_for() -> None:
    assert times(1.0).publishing_ms == 125
    assert (times(0.01).publishing_ms, times(3600).publishing_ms) == (50, 1000)
    assert times(1.0).keep_alive * times(1.0).publishing_ms == 5000
    assert times(1.0).lifetime * times(1.0).publishing_ms == 300_000
    assert (queue(1.0), queue(0.01), queue(3600)) == (300, MAX_QUEUE, 2)
