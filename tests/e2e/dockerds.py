"""A Docker daemon in each of some network namespaces: gateways with containers of their own, on one machine."""

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker

from build.lab import Places

SECONDS = 60.0  # a bound, not an expectation: a busy machine is slow, not wrong


class Dockerd:
    """The daemon of one place; its socket and all its files are in `folder`."""

    def __init__(self, places: Places, place: str, folder: Path) -> None:
        self.socket = folder / "docker.sock"
        folder.mkdir(parents=True)
        (folder / "daemon.json").write_text(json.dumps({}))  # else the machine's own settings hold
        argv: list[str | Path] = [
            *("dockerd", "--config-file", folder / "daemon.json", "--host", f"unix://{self.socket}"),
            *("--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"),
            *("--storage-driver", "vfs", "--ip6tables=false", "--log-level", "warn"),
        ]
        # Not by `ip netns exec`: that mounts a /sys of its own, without the control groups.
        within = ["nsenter", f"--net=/run/netns/{places.name(place)}", *map(str, argv)]
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(within, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + SECONDS
        while subprocess.run(self.argv("version"), capture_output=True, check=False, timeout=SECONDS).returncode:
            assert self._process.poll() is None, Path(self._log.name).read_text()[-2000:]
            assert time.monotonic() < deadline, "dockerd does not answer"
            time.sleep(0.05)

    def argv(self, *words: str) -> list[str]:
        """What runs `docker` against it."""
        return ["docker", "--host", f"unix://{self.socket}", *words]

    def run(self, *words: str, check: bool = True) -> str:
        """What `docker` prints."""
        return subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=SECONDS, check=check).stdout

    def load(self, name: str, archive: bytes) -> None:
        """An image out of a root filesystem."""
        subprocess.run(self.argv("import", "-", name), input=archive, capture_output=True, timeout=SECONDS, check=True)

    def close(self) -> None:
        """End it and its containers."""
        if self._process.poll() is None:
            client = docker.DockerClient(f"unix://{self.socket}")
            with contextlib.closing(client), contextlib.suppress(OSError, docker.errors.DockerException):
                for container in client.containers.list(all=True):
                    container.remove(force=True, v=True)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(SECONDS)
        self._log.close()


@contextlib.contextmanager
def dockerds(places: Places, names: Sequence[str], folder: Path) -> Iterator[list[Dockerd]]:
    """A daemon in each of these places, while the block runs."""
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        made = []
        for name in names:
            made.append(Dockerd(places, name, folder / name))
            stack.callback(made[-1].close)
        for each in made:
            each.wait()
        yield made
