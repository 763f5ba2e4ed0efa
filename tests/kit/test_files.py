import stat
from pathlib import Path

import pytest

from edged.kit.files import private_dir, write_private


def test_a_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = private_dir(tmp_path / "a" / "b") / "key"
    write_private(path, b"one")
    path.chmod(0o644)
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_when_it_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"one")
    (tmp_path / "key.new").mkdir()
    with pytest.raises(OSError, match=r"key\.new"):
        write_private(path, b"two")
    assert path.read_bytes() == b"one"
