import base64

import msgspec
import pytest

from edged.device.secrets import signed, texts
from edged.errors import InvalidError
from edged.model.core import Secret

HELD = {"plc": {"USERNAME": "operator", "PASSWORD": "s3cret"}, "empty": {}}


def test_the_texts_of_a_secret() -> None:
    data = {"PASSWORD": base64.b64encode(b"s3cret\n").decode(), "key": base64.b64encode(b"\xff").decode(), "bad": "a"}
    secret = msgspec.convert({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plc"}, "data": data}, Secret)
    assert texts(secret) == {"PASSWORD": "s3cret"}


def test_who_this_node_is_to_a_device() -> None:
    config = {"url": "opc.tcp://plc:4840"}
    assert signed(config, HELD.get) == config
    assert signed({**config, "secretName": "plc"}, HELD.get) == {**config, "userName": "operator", "password": "s3cret"}
    for name, words in (("gone", 'secretName: there is no Secret "gone"'), ("empty", "has neither USERNAME nor PASSWORD")):
        with pytest.raises(InvalidError, match=words):
            signed({**config, "secretName": name}, HELD.get)
