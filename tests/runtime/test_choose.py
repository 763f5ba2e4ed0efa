import socket
from pathlib import Path

import pytest

from edged.errors import InvalidError
from edged.runtime.choose import choose_driver


def test_without_a_docker_socket_host_processes_run(tmp_path: Path) -> None:
    assert choose_driver("auto", node="gw-a", directory=tmp_path / "p", socket=str(tmp_path / "none")).name == "process"


def test_docker_runs_when_its_socket_is_there(tmp_path: Path) -> None:
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        assert choose_driver("auto", node="gw-a", directory=tmp_path / "p", socket=path).name == "docker"
        assert choose_driver("docker", node="gw-a", directory=tmp_path / "p", socket=path).name == "docker"
        assert choose_driver("process", node="gw-a", directory=tmp_path / "p", socket=path).name == "process"


def test_docker_that_was_chosen_and_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as raised:
        choose_driver("docker", node="gw-a", directory=tmp_path / "p", socket=str(tmp_path / "none"))
    assert str(raised.value) == f"the runtime is to be docker, but its socket {tmp_path}/none cannot be used: it is not there"
    (tmp_path / "file").touch()
    with pytest.raises(InvalidError, match="it is no socket"):
        choose_driver("docker", node="gw-a", directory=tmp_path / "p", socket=str(tmp_path / "file"))
