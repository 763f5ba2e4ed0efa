"""Root filesystems for Docker images: busybox, and programs of this machine with the libraries that they need."""

import io
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from build import machine
from build.image import busybox_archive

SECONDS = 60.0


def archive(*programs: str, folders: Iterable[str] = ()) -> bytes:
    """A tar for `docker import` with `programs`, the shared objects in `folders` that they load, and these folders."""
    packed = io.BytesIO(busybox_archive(machine.static_busybox()))
    shared = [str(path) for folder in folders for path in Path(folder).rglob("*.so")]
    needed = {path for program in (*programs, *shared) for path in libraries(program)}
    with tarfile.open(fileobj=packed, mode="a") as tar:
        for path in (*programs, *sorted(needed)):
            tar.add(Path(path).resolve(), path.removeprefix("/"))
        for folder in folders:
            tar.add(folder, folder.removeprefix("/"))
    return packed.getvalue()


def libraries(program: str) -> list[str]:
    """The libraries of a program, the loader among them."""
    shown = subprocess.run(["ldd", program], check=True, capture_output=True, text=True, timeout=SECONDS).stdout
    return [word for word in shown.split() if word.startswith("/")]
