import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.store.keyfile import FixedKey
from edged.store.vault import NONCE, TAG, SealedError, Vault

PLACE = ("site-1", "secrets", "default", "db", "body")
VAULT = Vault(FixedKey(), os.urandom)


@given(st.binary(max_size=200))
def test_what_is_sealed_opens_and_shows_nothing(value: bytes) -> None:
    sealed = VAULT.seal(PLACE, value)
    assert sealed is not None
    assert len(sealed) == 1 + NONCE + len(value) + TAG
    assert len(value) < 4 or value not in sealed
    assert VAULT.open(PLACE, sealed) == value
    assert VAULT.seal(PLACE, value) != sealed


def test_other_resources_and_tombstones_are_themselves() -> None:
    pods = ("site-1", "pods", "default", "db", "body")
    assert VAULT.seal(pods, b"x") == VAULT.open(pods, b"x") == b"x"
    assert VAULT.seal(PLACE, None) is VAULT.open(PLACE, None) is None


def test_it_opens_in_its_place_and_with_its_key_only() -> None:
    sealed = VAULT.seal(PLACE, b"hunter2")
    with pytest.raises(SealedError, match="does not open"):
        VAULT.open(("site-1", "secrets", "default", "other", "body"), sealed)
    with pytest.raises(SealedError, match="does not open"):
        Vault(FixedKey(b"k" * 32), os.urandom).open(PLACE, sealed)

    class Missing(FixedKey):
        def find(self) -> None:
            return None

    with pytest.raises(SealedError, match="its key is missing"):
        Vault(Missing(), os.urandom).open(PLACE, sealed)


@given(st.binary(max_size=80))
def test_bytes_that_nobody_sealed(stored: bytes) -> None:
    with pytest.raises(SealedError):
        VAULT.open(PLACE, stored)


@given(st.integers(0, 36), st.integers(0, 7))
def test_a_bit_flipped(at: int, bit: int) -> None:
    sealed = bytearray(VAULT.seal(PLACE, b"hunter2!") or b"")
    sealed[at] ^= 1 << bit
    with pytest.raises(SealedError):
        VAULT.open(PLACE, bytes(sealed))
