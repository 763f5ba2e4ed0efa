from pathlib import Path
from typing import Any

import pytest

from edged.errors import UnreachableError
from edged.mesh import kernel
from edged.mesh.rules import removal


def host(site: Any) -> tuple[str, str, str]:
    """What the mesh could leave behind in the host, and what it must not touch."""
    return (
        site.run("gateway", "nft", "list", "ruleset").stdout,
        site.run("gateway", "ip", "-brief", "link").stdout,
        site.run("gateway", "ip", "route").stdout,
    )


@pytest.fixture
def theirs(idle_site: Any) -> str:
    """A table of somebody else in the gateway."""
    table = "table ip theirs { chain forward { type filter hook forward priority 0; policy accept; tcp dport 9 drop; }; }"
    assert idle_site.run("gateway", "nft", table).returncode == 0
    return idle_site.run("gateway", "nft", "list", "ruleset").stdout


@pytest.mark.root
@pytest.mark.tool("nft")
def test_it_leaves_the_host_as_it_was(idle_site: Any, theirs: str) -> None:
    before = host(idle_site)
    idle_site.start()
    try:
        during = host(idle_site)
        assert "table ip edged" in during[0]
        assert theirs.strip() in during[0]
        (route,) = [line for line in during[2].splitlines() if line.startswith("9.251.0.0/16 dev edged0")]
        assert "advmss 65495" in route, "who answers on this node may send as much at a time as lo carries"
    finally:
        idle_site.stop()
    assert host(idle_site) == before


@pytest.mark.root
@pytest.mark.tool("nft")
@pytest.mark.tool("curl")
def test_what_a_killed_daemon_left_is_taken_over(site: Any) -> None:
    site.program.kill()
    site.program.communicate()
    assert "table ip edged" in host(site)[0]
    assert site.curl("gateway", "http://9.251.1.2/").returncode == 7
    site.start()
    assert site.curl("container", "http://web/").stdout == "from the pod\n"
    site.stop()
    assert "edged" not in "".join(host(site))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only `nft` on PATH is ours."""
    path = tmp_path / "nft"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return path


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def read(path: str) -> str:
    return Path(path).read_text()


async def test_the_rules_go_in_by_its_input(program: Path) -> None:
    write(program, f'echo "$@" > {program}.argv; cat > {program}.given')
    await kernel.apply(removal())
    assert read(f"{program}.argv") == "-f -\n"
    assert read(f"{program}.given") == removal()


async def test_a_refusal_says_what_was_said(program: Path) -> None:
    write(program, "echo 'Error: Operation not permitted' >&2; exit 1")
    with pytest.raises(UnreachableError, match="nft -f -: Error: Operation not permitted"):
        await kernel.apply(removal())
    write(program, "exit 3")
    with pytest.raises(UnreachableError, match="nft -f -: exit 3"):
        await kernel.apply(removal())


async def test_a_program_that_hangs_is_given_up(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "COMMAND_S", 0.2)
    write(program, "exec sleep 600")
    with pytest.raises(UnreachableError, match=r"nft did not end in 0\.2 s"):
        await kernel.apply(removal())


async def test_a_missing_program_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError, match="nft cannot be run: No such file or directory"):
        await kernel.apply(removal())
