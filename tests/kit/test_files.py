import stat
from pathlib import Path

import pytest

from edged.errors import StorageError
from edged.kit.files import alone, private_dir, size_of, sync, write_private


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


def test_a_directory_for_one(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path), pytest.raises(StorageError, match="another process works in it"), alone(tmp_path):
            pass
    with pytest.raises(BlockingIOError), alone(tmp_path):  # of what is done there: not of the lock
        raise BlockingIOError


def test_sync_takes_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("b")
    sync(tmp_path / "a")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")


def test_the_size_of_a_file_system(tmp_path: Path) -> None:
    assert size_of(tmp_path) >= 1 << 20
    with pytest.raises(FileNotFoundError):
        size_of(tmp_path / "nowhere")
