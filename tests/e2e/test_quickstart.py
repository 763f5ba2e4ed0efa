"""The quickstart, as a newcomer runs it; it fails by itself when a step does not go as it must. And nothing is left."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import docker
import pytest

from build import lab, machine, processes
from edged.runtime.docker import LABELS

ROOT = Path(__file__).parents[2]
MOST_S = 300
STEPS = 9
ORDINARY = "nobody"


def run(*argv: str | Path, **environment: str) -> str:
    """What a program of build/ printed: it becomes the Python it runs, by `exec`. It ended well, and nothing is left."""
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
    ) as process:
        try:
            printed = process.communicate(timeout=MOST_S)[0]
        except BaseException:
            process.terminate()
            raise
    assert process.returncode == 0, printed
    assert not traces(process.pid)
    return printed


def traces(pid: int) -> set[str]:
    """What the quickstart that was process `pid` has made: others may be at work, each under its own name."""
    folder = f"edged-quickstart-{pid}-"
    made = {str(path) for path in Path(tempfile.gettempdir()).glob(f"{folder}*")}
    made |= {f"process {each}" for each in processes.named(folder)}
    made |= {name for name in lab.names() if name.startswith(f"edged-{pid}-")} if shutil.which("ip") else set()
    if machine.docker_answers():
        client = docker.from_env()
        try:
            made |= {network.name for network in client.networks.list() if network.name == f"edged-{pid}"}
            ours = client.containers.list(all=True, filters={"label": f"{LABELS['node']}=gw-b"})
            made |= {each.name for each in ours if f"edged-{pid}" in each.attrs["NetworkSettings"]["Networks"]}
        finally:
            client.close()
    return made


def check(printed: str, runtime: str) -> None:
    assert printed.count("done ") == STEPS, printed
    for seen in (f"runtime {runtime}", "hello from web-", "desired 22.5", "never restarted", "equal at gw-a and gw-b"):
        assert seen in " ".join(printed.split()), printed


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.tool("nft")
def test_as_root_with_docker() -> None:
    check(run("build/quickstart", "--once", COLUMNS="200"), "docker")


@pytest.mark.root
@pytest.mark.tool("nft")
@pytest.mark.tool("setpriv")
def test_as_an_ordinary_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    user = pwd.getpwnam(ORDINARY)
    folder = tmp_path_factory.mktemp("home")
    folder.chmod(0o777)
    argv = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    argv += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # this checkout and Python may be in /root
    check(run(*argv, "build/quickstart", "--once", COLUMNS="200", HOME=str(folder)), "process")


@pytest.mark.root
@pytest.mark.tool("nft")
@pytest.mark.tool("binutils")
@pytest.mark.tool(machine.LIBPYTHON)
def test_from_the_binary_without_docker() -> None:
    run("build/binary")
    folder = ".work/dist/edged"
    check(run("build/quickstart", "--once", "--runtime", "process", "--binary", folder, COLUMNS="200"), "process")
