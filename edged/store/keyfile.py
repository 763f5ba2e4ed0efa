"""The key that secrets are sealed with: a file of 32 bytes beside the store, mode 0600, made at first need."""

import os
from collections.abc import Callable
from pathlib import Path

from edged.errors import StorageError
from edged.kit.files import write_private
from edged.kit.log import Log
from edged.model.times import compact_time
from edged.store.vault import KEY


def key_path(store: Path) -> Path:
    """Where the key of a store is: `store.db` has `store.key`."""
    return store.with_suffix(".key")


class KeyFile:
    """The key of one store; read once. `random(n)` gives n random bytes that nobody can guess."""

    def __init__(self, path: Path, random: Callable[[int], bytes]) -> None:
        self._path, self._random = path, random
        self._key: bytes | None = None

    def find(self) -> bytes | None:
        """The key, or None when there is no file. StorageError when it cannot be read, or is no key."""
        if self._key is None:
            try:
                found = self._path.read_bytes()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise StorageError(f"{self._path}: {error.strerror}") from error
            if len(found) != KEY:
                raise StorageError(f"{self._path}: {len(found)} bytes, a key has {KEY}")
            self._key = found
        return self._key

    def need(self) -> bytes:
        """The key; when there is none it is made, and on disk before anything is sealed with it."""
        key = self.find()
        if key is None:
            self.keep(key := self._random(KEY))
        return key

    def keep(self, key: bytes) -> None:
        """Make this the key, on disk when it returns. StorageError."""
        try:
            write_private(self._path, key)
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error
        self._key = key


def open_key(path: Path, now: float, log: Log) -> KeyFile:
    """The key file of a store that is being opened; one that holds no key is set aside, loudly. StorageError."""
    try:
        if path.exists() and path.stat().st_size != KEY:
            aside = path.with_name(f"{path.name}.damaged-{compact_time(now)}")
            path.rename(aside)
            log.error(f"{path} is no key: it is kept as {aside.name}; secrets come again from peers, under a new key")
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    return KeyFile(path, os.urandom)


class FixedKey:
    """A key that is in no file: of a store in memory, or out of a backup."""

    def __init__(self, key: bytes = bytes(KEY)) -> None:
        self._key = key

    def find(self) -> bytes:
        """The key."""
        return self._key

    def need(self) -> bytes:
        """The same."""
        return self._key
