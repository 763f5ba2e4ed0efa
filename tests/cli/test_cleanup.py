import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.kit.files import alone
from edged.runtime.podnetwork import LABEL

ROOT = Path(__file__).parents[2]
SPACE = f"edged-cleanup-{os.getpid()}"
TABLE = "table ip {name} {{ chain output {{ type nat hook output priority -100; policy accept; }}; }}"


@pytest.fixture
def within() -> Iterator[Any]:
    """Run something in a network namespace of the test's own."""

    def run(*argv: str, **environment: str) -> str:
        argv = ("ip", "netns", "exec", SPACE, *argv)
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60, env=os.environ | environment)
        return done.stdout

    subprocess.run(["ip", "netns", "add", SPACE], check=True, timeout=60)
    try:
        yield run
    finally:
        subprocess.run(["ip", "netns", "delete", SPACE], check=True, timeout=60)


@pytest.mark.root
@pytest.mark.tool("nft")
def test_it_takes_away_what_is_ours_and_nothing_else(within: Any, tmp_path: Path) -> None:
    for name in ("edged", "theirs"):
        within("nft", TABLE.format(name=name))
    within("ip", "link", "add", "edged0", "type", "bridge")
    for _ in range(2):
        within(sys.executable, "-m", "edged", "cleanup", EDGED_NODE__STATE_DIR=str(tmp_path), PYTHONPATH=str(ROOT))
        assert within("nft", "list", "tables").split() == ["table", "ip", "theirs"]
        assert "edged0" not in within("ip", "-brief", "link")


@pytest.mark.root
def test_a_daemon_that_runs_is_left_alone(edged: Any, failed: Any, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with alone(tmp_path / "state"):
        failed(edged("cleanup"), 1, "another process works in it")


@pytest.mark.root
@pytest.mark.tool("nft")
def test_it_takes_away_the_file_for_systemd_resolved(within: Any, tmp_path: Path) -> None:
    """In a /etc/systemd that only this test sees: `ip netns exec` has mounts of its own."""
    (tmp_path / "systemctl").symlink_to("/usr/bin/true")
    folder = "/etc/systemd/resolved.conf.d"
    steps = [
        "mount -t tmpfs none /etc/systemd",
        f"mkdir {folder}",
        f"touch {folder}/edged.conf {folder}/theirs.conf",
        f"{sys.executable} -m edged cleanup",
        f"ls {folder}",
    ]
    path = f"{tmp_path}:{os.environ['PATH']}"
    left = within("sh", "-ec", "; ".join(steps), EDGED_NODE__STATE_DIR=str(tmp_path), PYTHONPATH=str(ROOT), PATH=path)
    assert left.split() == ["theirs.conf"]
    assert not Path(folder, "theirs.conf").exists()


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.tool("nft")
def test_it_takes_away_the_network_of_pods(within: Any, fleet: Any) -> None:
    import docker  # noqa: PLC0415  heavy

    client = docker.from_env()
    names = [f"edged-cleanup-{os.getpid()}-{number}" for number in range(2)]
    node = f"gw-{os.getpid()}"
    made = [client.networks.create(name, labels={LABEL: owner}) for name, owner in zip(names, (node, "gw-z"), strict=True)]
    try:
        within(sys.executable, "-m", "edged", "cleanup", EDGED_NODE__STATE_DIR=str(fleet(node)), PYTHONPATH=str(ROOT))
        assert [each.name for each in client.networks.list(names=names)] == names[1:]
    finally:
        for each in client.networks.list(ids=[one.id for one in made]):
            each.remove()
        client.close()
