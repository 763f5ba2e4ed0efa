import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from edged.kit.files import alone
from edged.store.keyfile import KeyFile
from edged.store.schema import prepare
from edged.store.table import Table
from edged.store.vault import Vault
from edged.wire.sync import BODY, Register

SECRET = b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"data":{"password":"aHVudGVyMg=="}}'
PLACE = ("site", "secrets", "default", "db", BODY)


def table(state: Path) -> tuple[apsw.Connection, Table]:
    connection = apsw.Connection(str(state / "store.db"))
    prepare(connection)
    return connection, Table(connection, "site", vault=Vault(KeyFile(state / "store.key", os.urandom), os.urandom))


@pytest.fixture
def state(edged: Any, tmp_path: Path) -> Path:
    """The state directory of a node that has a secret."""
    edged("fleet", "init", "acme")
    edged("fleet", "issue", "gw-a", "--group", "site", "--dir", "acme")
    edged("join", "gw-a.bundle")
    connection, made = table(tmp_path / "state")
    with closing(connection):
        made.begin("gw-a:1")
        made.replace(Register(*PLACE[1:], "u", "site/gw-a:1", 1, 1, SECRET), 1)
    return tmp_path / "state"


def secret(state: Path) -> bytes | None:
    connection, found = table(state)
    with closing(connection):
        placed = found.register(PLACE)
        return None if placed is None else placed.register.value


def test_there_and_back(edged: Any, state: Path, tmp_path: Path) -> None:
    with alone(state):  # as while the daemon runs
        done = edged("backup", "gw-a.backup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gw-a.backup: the store of gw-a, ")
    assert done.stdout.endswith("without the key of its secrets\n")
    assert stat.S_IMODE((tmp_path / "gw-a.backup").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.glob("gw-a.backup*")] == ["gw-a.backup"]
    (state / "store.db").write_bytes(b"")
    done = edged("restore", "gw-a.backup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{state}/store.db: what gw-a had at 20")
    assert f", 1 registers; what was there is kept as {state}/store.db.replaced-20" in done.stdout
    assert done.stdout.count("\n") == 1
    assert secret(state) == SECRET


def test_with_its_key_through_a_pipe_to_another_machine(edged: Any, state: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root), "EDGED_CONFIG": str(tmp_path / "edged.toml")}
    argv = [sys.executable, "-m", "edged"]
    made = subprocess.run([*argv, "backup", "--with-key", "-"], capture_output=True, env=environ, check=True).stdout
    assert list(state.glob("store.db.*")) == []
    state.rename(tmp_path / "old")
    state.mkdir()
    argv += ["restore", "-"]
    done = subprocess.run(argv, input=made, capture_output=True, env=environ, check=True).stdout.decode()
    assert done.endswith(", 1 registers\n")
    assert secret(state) == SECRET
    assert stat.S_IMODE((state / "store.key").stat().st_mode) == 0o600


def test_without_its_key(edged: Any, state: Path) -> None:
    edged("backup", "b")
    (state / "store.key").unlink()
    assert "1 registers, of which 1 secrets do not open without their key" in edged("restore", "b").stdout


def test_a_restore_while_the_daemon_runs(edged: Any, failed: Any, state: Path) -> None:
    edged("backup", "b")
    with alone(state):
        failed(edged("restore", "b"), 1, "the daemon works in it: stop it, then restore")
    failed(edged("restore", "none"), 1, "none: No such file or directory")


def test_what_is_no_backup(edged: Any, failed: Any, state: Path, tmp_path: Path) -> None:
    before = (state / "store.db").read_bytes()
    (tmp_path / "b").write_bytes(b"no backup" * 1000)
    failed(edged("restore", "b"), 2, "b: not a backup that can be used: the file is damaged")
    failed(edged("restore", state / "store.db"), 2, "its tables are others; nothing is changed")
    assert (state / "store.db").read_bytes() == before
    assert list(state.glob("store.db.*")) == []


def test_nothing_to_back_up(edged: Any, failed: Any, state: Path, tmp_path: Path) -> None:
    failed(edged("backup", "none/b"), 1, "No such file or directory")
    (state / "store.key").unlink()
    failed(edged("backup", "b", "--with-key"), 1, "no key is there")
    (state / "store.db").unlink()
    failed(edged("backup", "b"), 1, "no store is there")
    assert list(tmp_path.glob("b*")) == []
