import os
import stat
from pathlib import Path

import pytest

from edged.errors import StorageError
from edged.store.keyfile import FixedKey, KeyFile, key_path
from edged.store.vault import KEY


def test_it_is_made_at_first_need_for_its_owner_only(tmp_path: Path) -> None:
    path = key_path(tmp_path / "store.db")
    assert path == tmp_path / "store.key"
    key = KeyFile(path, os.urandom)
    assert key.find() is None
    assert not path.exists()
    made = key.need()
    assert len(made) == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.need() == key.find() == KeyFile(path, os.urandom).find() == made


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "store.key"
    path.write_bytes(b"short")
    with pytest.raises(StorageError, match=r"store\.key: 5 bytes, a key has 32"):
        KeyFile(path, os.urandom).need()
    with pytest.raises(StorageError, match="Is a directory"):
        KeyFile(tmp_path, os.urandom).find()
    with pytest.raises(StorageError, match="No such file"):
        KeyFile(tmp_path / "none" / "store.key", os.urandom).need()


def test_a_key_in_no_file() -> None:
    assert FixedKey().find() == FixedKey().need() == bytes(KEY)
