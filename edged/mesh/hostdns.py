"""Has the host's own programs resolve our names: a drop-in file for systemd-resolved while the mesh runs."""

from pathlib import Path

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.mesh import kernel
from edged.mesh.zone import CLUSTER, NODES

DROP_IN = Path("etc/systemd/resolved.conf.d/edged.conf")
RELOAD = ("systemctl", "try-reload-or-restart", "systemd-resolved.service")  # one that does not run reads it when it starts
READABLE_FILE, READABLE_DIR = 0o644, 0o755  # it runs as a user of its own


class HostDns:
    """The drop-in below `root`; `reload` makes systemd-resolved read it."""

    def __init__(self, root: Path = Path("/"), reload: tuple[str, ...] = RELOAD) -> None:
        self.path = root / DROP_IN
        self._reload = reload

    async def set_up(self, server: Address) -> None:
        """Have names of ours asked of `server`. UnreachableError when the file cannot be written, or there is no systemd."""
        try:
            self.path.parent.mkdir(mode=READABLE_DIR, parents=True, exist_ok=True)
            new = self.path.with_suffix(".new")  # systemd reads only what ends in .conf
            new.write_text(drop_in(server))
            new.chmod(READABLE_FILE)
            new.replace(self.path)
        except OSError as error:
            raise UnreachableError(f"{self.path} cannot be written: {error.strerror}") from error
        await kernel.command(*self._reload)

    async def clean_up(self) -> None:
        """Remove the drop-in; nothing happens when it is gone already. UnreachableError as `set_up`."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnreachableError(f"{self.path} cannot be removed: {error.strerror}") from error
        await kernel.command(*self._reload)


def drop_in(server: Address) -> str:
    """The file: `~` before a domain says what is asked of this server, and adds nothing to what is searched."""
    return f"# Written by edged while its mesh runs (mesh.host_dns).\n[Resolve]\nDNS={server}\nDomains=~{CLUSTER} ~{NODES}\n"
