import hmac
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.wire.endpoint import unpacked
from edged.wire.relayudp import COOKIE, SIZE, Here, Where, is_ours, opened, sealed, session

KEY = bytes(range(32))
numbers = st.integers(0, 2**64 - 1)
cookies = st.binary(min_size=COOKIE, max_size=COOKIE)
questions = st.builds(Where, numbers, numbers, cookies)
answers = st.builds(Here, numbers, numbers, st.binary(min_size=18, max_size=18).map(unpacked), cookies, st.booleans())


@given(questions | answers)
def test_a_message_comes_back_and_is_as_large_as_any_other(message: Where | Here) -> None:
    data = sealed(message, KEY)
    assert opened(data, KEY) == message
    assert len(data) == SIZE
    assert data[0] & 0xC0 == 0
    assert is_ours(data)
    assert session(data) == session(memoryview(data)) == message.session


@given(questions | answers, st.integers(0, SIZE - 1), st.integers(1, 255), st.binary(min_size=1, max_size=80))
def test_what_is_damaged_longer_or_of_another_key_is_not_opened(message: Where | Here, at: int, flip: int, more: bytes) -> None:
    good = sealed(message, KEY)
    damaged = bytearray(good)
    damaged[at] ^= flip
    for data, key in ((bytes(damaged), KEY), (good[:at], KEY), (good + more, KEY), (good, bytes(32)), (more, KEY)):
        with pytest.raises(ProtocolError):
            opened(data, key)


def test_a_kind_that_is_not_known_is_not_opened() -> None:
    """A newer relay could send one, sealed as it should be."""
    head = bytearray(sealed(Where(1, 2), KEY)[:-16])
    head[4] = 9
    with pytest.raises(ProtocolError, match="kind 9"):
        opened(bytes(head) + hmac.digest(KEY, bytes(head), "sha256")[:16], KEY)


def test_many_random_inputs_raise_the_declared_error_only() -> None:
    """Random bytes, and random ones behind a good head: pure chance opens none of them."""
    random = Random(4)
    good = sealed(Where(7, 8), KEY)
    for number in range(50_000):
        noise = random.randbytes(SIZE if number % 2 else random.randrange(2 * SIZE))
        mixed = good[: random.randrange(SIZE - 1)] + noise
        for data in (noise, mixed[:SIZE], mixed):
            assert 0 <= session(data) < 2**64
            with pytest.raises(ProtocolError):
                opened(data, KEY)
