import socket
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest

from build.fleet import NODES, FailedError, Fleet, Loopback, free_ports, temporary, toml
from edged.config import load


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, tmp_path / "bin", Loopback())


def test_settings_are_what_the_daemon_reads(tmp_path: Path) -> None:
    site = Loopback()
    seen = []
    for node in NODES:
        settings = {"node": {"state_dir": f"/state/{node}"}, "runtime": {"driver": "process"}, **site.settings(node)}
        assert tomllib.loads(toml(settings)) == settings
        (tmp_path / "edged.toml").write_text(toml(settings))
        config = load(tmp_path / "edged.toml", {})
        assert config.mesh.rootless
        seen.append({config.api.listen, config.hub.listen, config.mesh.loopback, site.relay})
    assert seen[0] & seen[1] == {site.relay}  # two nodes on one machine share nothing but the relay


def test_tables_within_tables() -> None:
    settings = {
        "hub": {"peers": {"gw-b": ["127.0.0.1:7400"], "gw.c": []}, "listen": "0.0.0.0:1"},
        "node": {"clock_offset_s": -1.5},
    }
    assert tomllib.loads(toml(settings)) == settings


def test_free_ports_are_free_and_all_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with socket.create_server(("127.0.0.1", ports[0])):
        pass


def test_waiting_ends_with_the_answer(fleet: Fleet) -> None:
    answers = iter([OSError("not yet"), LookupError("not yet"), [], ["here"]])

    def look() -> list[str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert fleet.wait("an answer", look, 10) == ["here"]


def test_waiting_in_vain_tells_for_what_and_why(fleet: Fleet) -> None:
    def look() -> bool:
        raise OSError("nobody is there")

    with pytest.raises(FailedError, match="waited 0 s for an answer: nobody is there"):
        fleet.wait("an answer", look, 0)


def test_a_program_that_ended_is_not_waited_for(fleet: Fleet) -> None:
    with fleet:
        fleet.start("one", ["sh", "-c", "echo going; exit 3"])
        with pytest.raises(FailedError, match="one ended with exit code 3"):
            fleet.wait("what never comes", lambda: False, 60, alive="one")
        assert fleet.lines["one"].read_text() == "going\n"


def test_programs_end_with_the_fleet_and_see_none_of_our_settings(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_LOG__LEVEL", "debug")
    with fleet:
        fleet.start("one", ["sh", "-c", "env; echo up; exec sleep 1000"])
        fleet.wait("it to start", lambda: "up\n" in fleet.lines["one"].read_text(), 10)
        pid = fleet.pid("one")
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
    assert "EDGED_LOG" not in fleet.lines["one"].read_text()


def test_a_failed_command_says_why(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "edged").write_text("#!/bin/sh\necho no such fleet >&2\nexit 5\n")
    (tmp_path / "bin" / "edged").chmod(0o755)
    with pytest.raises(FailedError, match=r"edged fleet init x: exit 5: no such fleet"):
        fleet.edged("fleet", "init", "x")


def test_a_temporary_folder_goes_and_what_a_killed_program_left_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "trial-999999999-1-abc"
    left.mkdir()
    (tmp_path / "trial-of-others-999999999-1-abc").mkdir()
    argv = ["sh", "-c", "sleep 1000 & echo up; wait", str(left)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"up\n"
        with temporary("trial") as folder:
            assert not left.exists()
            assert daemon.stdout.read() == b""  # both have ended
            (folder / "file").write_text("")
            with temporary("trial") as other:
                assert folder.exists()  # its owner lives
        assert not folder.exists()
        assert not other.exists()
        assert (tmp_path / "trial-of-others-999999999-1-abc").exists()
