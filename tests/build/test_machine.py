import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from build import machine


def test_what_is_not_on_path_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {"nftables", "curl", "kubernetes-client"} <= set(machine.missing())
    (tmp_path / "curl").write_text("#!/bin/sh\n")
    (tmp_path / "curl").chmod(0o755)
    assert "curl" not in machine.missing()


def test_nobody_answers_where_no_docker_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "DOCKER_SOCKET", tmp_path / "docker.sock")
    assert not machine.docker_answers()


@pytest.mark.docker
def test_a_docker_daemon_that_answers_is_left_alone(tmp_path: Path) -> None:
    with machine.dockerd(tmp_path / "log"):
        pass
    assert machine.docker_answers()
    assert not (tmp_path / "log").exists()


def test_sigterm_ends_a_program_through_its_finally() -> None:
    script = (
        "import time; from build import machine; machine.end_on_signals()\n"
        "try:\n    print('up', flush=True); time.sleep(1000)\nfinally:\n    print('cleaned up')"
    )
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={"PYTHONPATH": "."} | os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.stdout.read() == b"cleaned up\n"
    assert process.returncode == 128 + signal.SIGTERM
