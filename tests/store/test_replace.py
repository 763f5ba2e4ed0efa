from pathlib import Path

import pytest

from edged.store.replace import KEPT, discard, finish, new_path, replace

NOW = 1_786_017_600.0  # 2026-08-06T12:00:00Z


def made(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def names(directory: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in directory.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made(tmp_path / "store.db", "old")
    made(tmp_path / "store.db-wal", "log")
    made(tmp_path / "store.db-shm", "index")
    made(tmp_path / "store.db.new", "new")
    return tmp_path / "store.db"


def test_the_old_one_is_kept_whole(path: Path) -> None:
    aside = replace(path, "damaged", NOW)
    assert aside.name == "store.db.damaged-20260806T120000Z"
    assert names(path.parent) == {
        "store.db": "new", aside.name: "old", f"{aside.name}-wal": "log", f"{aside.name}-shm": "index",
    }  # fmt: skip


def test_only_the_latest_are_kept(path: Path) -> None:
    for number in range(KEPT + 2):
        made(new_path(path), str(number))
        made(path.with_name("store.db-wal"), "log")
        replace(path, "damaged", NOW + number)
    kept = sorted(each.name for each in path.parent.glob("store.db.damaged-*Z"))
    assert kept == [f"store.db.damaged-20260806T12000{number}Z" for number in range(2, KEPT + 2)]
    assert len(list(path.parent.glob("*-wal"))) == KEPT
    assert path.read_text() == str(KEPT + 1)


def test_there_need_be_no_old_one(tmp_path: Path) -> None:
    made(tmp_path / "store.db.new", "new")
    replace(tmp_path / "store.db", "replaced", NOW)
    assert names(tmp_path) == {"store.db": "new"}


@pytest.mark.parametrize("renames", range(4))
def test_a_power_cut_in_between_is_finished(path: Path, renames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = Path.rename, [renames]

    def rename(self: Path, target: Path) -> Path:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(self, target)

    with monkeypatch.context() as cut:
        cut.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            replace(path, "damaged", NOW)
    finish(path)
    aside = "store.db.damaged-20260806T120000Z"
    if renames == 0:  # nothing had happened yet
        assert names(path.parent) == {"store.db": "old", "store.db-wal": "log", "store.db-shm": "index"}
    else:
        assert names(path.parent) == {"store.db": "new", aside: "old", f"{aside}-wal": "log", f"{aside}-shm": "index"}


def test_a_new_one_that_was_not_finished_goes(tmp_path: Path) -> None:
    path = made(tmp_path / "store.db", "old")
    made(tmp_path / "store.db.new", "half")
    made(tmp_path / "store.db.new-wal", "log")
    finish(path)
    finish(path)
    assert names(tmp_path) == {"store.db": "old"}
    discard(path)
    assert names(tmp_path) == {}
