from pathlib import Path

import pytest

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.mesh.hostdns import RELOAD, HostDns

SERVER = Address("169.254.96.16", 53)


async def test_the_file_is_there_when_it_is_read_again(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    made = HostDns(tmp_path, ("cp", "--preserve=mode", str(tmp_path / "etc/systemd/resolved.conf.d/edged.conf"), str(seen)))
    await made.set_up(SERVER)
    assert seen.read_text().splitlines()[1:] == ["[Resolve]", "DNS=169.254.96.16:53", "Domains=~cluster.local ~node.edged"]
    assert seen.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in made.path.parent.iterdir()] == ["edged.conf"]


async def test_it_goes_and_is_read_again(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    made = HostDns(tmp_path, ("touch", str(seen)))
    await made.clean_up()
    assert not seen.exists(), "there was nothing"
    await made.set_up(SERVER)
    seen.unlink()
    await made.clean_up()
    assert seen.exists()
    assert not made.path.exists()


async def test_a_host_without_systemd_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no-such-program cannot be run"):
        await HostDns(tmp_path, ("no-such-program",)).set_up(SERVER)


async def test_a_directory_that_is_not_ours_is_said(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    made = HostDns(tmp_path)
    with pytest.raises(UnreachableError, match="cannot be written"):
        await made.set_up(SERVER)
    with pytest.raises(UnreachableError, match="cannot be removed"):
        await made.clean_up()


def test_only_a_resolved_that_runs_is_told() -> None:
    assert RELOAD == ("systemctl", "try-reload-or-restart", "systemd-resolved.service")
