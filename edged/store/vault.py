"""Values that are encrypted in the file: AES-256-GCM (NIST SP 800-38D), under a key that is not in it.

A sealed value is VERSION, a nonce of 12 random bytes, the ciphertext and its tag of 16. Its place is authenticated with
it: a value that somebody moved to another place does not open there. 2^32 values may be sealed under one key, which is a
secret rewritten every second for a century.
"""

from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edged.errors import EdgedError

SEALED = frozenset({"secrets"})  # resources whose values are sealed
KEY = 32  # bytes
VERSION = b"\x01"
NONCE, TAG = 12, 16  # bytes


class SealedError(EdgedError):
    """A sealed value does not open: its key is missing or another, or it is damaged."""


class Key(Protocol):
    """Where the key is kept."""

    def find(self) -> bytes | None:
        """The key, or None when there is none."""

    def need(self) -> bytes:
        """The key; made, and on disk, when there was none. StorageError."""


class Vault:
    """Seals what goes to the file and opens what comes from it. `nonce(n)` gives n random bytes."""

    def __init__(self, key: Key, nonce: Callable[[int], bytes]) -> None:
        self._key, self._nonce = key, nonce

    def seal(self, place: tuple[str, ...], value: bytes | None) -> bytes | None:
        """The value as it is stored; a tombstone (None), and the value of a resource that is not SEALED, is itself."""
        if value is None or not is_sealed(place):
            return value
        nonce = self._nonce(NONCE)
        return VERSION + nonce + AESGCM(self._key.need()).encrypt(nonce, value, _bound(place))

    def open(self, place: tuple[str, ...], stored: bytes | None) -> bytes | None:
        """The value of what is stored; SealedError when it does not open."""
        if stored is None or not is_sealed(place):
            return stored
        key = self._key.find()
        if key is None:
            raise SealedError(f"{'/'.join(place)}: its key is missing")
        if stored[:1] != VERSION or len(stored) < 1 + NONCE + TAG:
            raise SealedError(f"{'/'.join(place)}: not a sealed value")
        try:
            return AESGCM(key).decrypt(stored[1 : 1 + NONCE], stored[1 + NONCE :], _bound(place))
        except InvalidTag as error:
            raise SealedError(f"{'/'.join(place)}: does not open: another key sealed it, or it is damaged") from error


def is_sealed(place: tuple[str, ...]) -> bool:
    """Whether the value of a place (scope, resource, namespace, name, part) is sealed."""
    return place[1] in SEALED


def _bound(place: tuple[str, ...]) -> bytes:
    return "\0".join(place).encode()  # no name has a zero byte
