import subprocess

import pytest
from rich.console import Console

from build import machine, quickstart
from build.fleet import FailedError


def test_one_quickstart_at_a_time() -> None:
    with quickstart.only_one(), pytest.raises(FailedError, match="another quickstart"), quickstart.only_one():
        pass
    with quickstart.only_one():
        pass


def test_a_runtime_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "docker_answers", lambda: False)
    with pytest.raises(FailedError, match="no Docker daemon answers"):
        quickstart.choose_runtime("docker", Console())


def test_without_docker_pods_are_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "docker_answers", lambda: False)
    monkeypatch.setattr(machine, "missing", list)
    assert quickstart.choose_runtime(None, Console()) == "process"


def test_an_error_is_told_with_the_words_of_the_program() -> None:
    error = subprocess.CalledProcessError(2, ["ip"], stderr="Operation not permitted\n")
    assert quickstart.told(error) == "Command '['ip']' returned non-zero exit status 2. Operation not permitted"


def test_an_unknown_option_is_usage() -> None:
    with pytest.raises(SystemExit) as raised:
        quickstart.parse(["--twice"])
    assert raised.value.code == 2
