import json
import random

import pytest

from edged.device.rules.servicebus import Asked, answer, parse
from edged.errors import ProtocolError

REQUEST = {"method": "POST", "targetURL": "http://a/b", "payload": {"temperature": 20}}


def test_a_request() -> None:
    assert parse(json.dumps(REQUEST).encode()) == Asked("POST", "http://a/b", b'{"temperature":20}')
    assert parse(b'{"targetURL": "a", "payload": "as it is"}') == Asked("POST", "a", b"as it is")


def test_an_answer() -> None:
    assert json.loads(answer(200, "", b"\xff yes")) == {"code": 200, "msg": "", "body": "� yes"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"targetURL": 5}', b'{"targetURL": "' + b"x" * 3000 + b'"}', b"[" * 100_000]
)
def test_requests_that_are_none(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(body)


def test_whatever_comes_only_a_protocol_error_comes_of_it() -> None:
    seed = 3
    dice = random.Random(seed)
    refused = 0
    for _ in range(3000):
        data = bytearray(json.dumps(REQUEST).encode())
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(4)] = dice.choice([dice.randbytes(2), b'"', b"{", b"1e999", b"\\ud800", b""])
        try:
            parse(bytes(data))
        except ProtocolError:
            refused += 1
    assert refused > 1000, seed
