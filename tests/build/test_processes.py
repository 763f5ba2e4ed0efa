import os
import signal
import subprocess
import sys

import pytest

from build import processes
from build.processes import descendants, end, gone, named, owner, started

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"


def test_a_process_is_known_by_its_start() -> None:
    assert started(os.getpid()) > 0
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert started(process.pid) == 0  # it has ended, and only waits for us
    assert started(process.pid) == 0


def test_an_owner_is_gone_when_it_has_ended() -> None:
    assert not gone(owner())
    assert gone(f"{os.getpid()}-1")  # another process had this number
    assert gone("999999999-1")


def test_processes_are_found_by_their_arguments() -> None:
    text = f"1000.{os.getpid()}"
    with subprocess.Popen(["sh", "-c", "echo up; read line", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # just after its exec a process has no arguments yet
        found = named(text)
        process.kill()
    assert found == [process.pid]


def test_children_of_children_are_found_and_ended() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 1000 & echo started; wait"], stdout=subprocess.PIPE)
    with shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        found = descendants([shell.pid])
        assert shell.pid in descendants()
        end(lambda: [pid for pid in [shell.pid, *found] if started(pid)])
    assert len(found) == 1
    assert shell.pid not in descendants()


def test_what_does_not_heed_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "END_S", 0.2)
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        end(lambda: [deaf.pid] if started(deaf.pid) else [])
    assert deaf.returncode == -signal.SIGKILL


def test_orphans_are_ours() -> None:
    script = (
        "import subprocess, sys; from build.processes import *; adopt_orphans();"
        "subprocess.run(['sh', '-c', 'sleep 1000 & true']); left = descendants(); end(descendants);"
        "print(len(left), len(descendants()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": "."} | os.environ
    )
    assert done.stdout == "1 0\n"
