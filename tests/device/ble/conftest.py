import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.device.mapper import Mappers

PYTHON = "/usr/bin/python3"  # Debian's, which has python3-dbusmock
PROGRAM = Path(__file__).with_name("bluez_devices.py")
PATIENCE_S = 30.0


def there() -> bool:
    argv = [PYTHON, "-c", "import dbusmock"]
    return Path(PYTHON).exists() and subprocess.run(argv, capture_output=True, check=False).returncode == 0


class Bluez:
    """BlueZ's interface on a bus of its own, with a thermometer and a beacon."""

    def __init__(self, folder: Path) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        bus = self._start(["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:dir={folder}"], {})
        assert bus.stdout is not None
        self.address = bus.stdout.readline().strip()
        self._log = (folder / "bluez.log").open("w")
        env = {"DBUS_SYSTEM_BUS_ADDRESS": self.address}
        # It tells every call, which nobody reads: a pipe would be full after some minutes, and hold it up.
        self._start([PYTHON, "-m", "dbusmock", "--system", "--template", "bluez5"], env, stdout=subprocess.DEVNULL)
        self._devices = self._start([PYTHON, str(PROGRAM)], env)
        first = self._line()
        if first != "ready":
            self.stop()
            raise AssertionError(first)

    def _start(self, argv: list[str], env: dict[str, str], stdout: int = subprocess.PIPE) -> "subprocess.Popen[str]":
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}
        log = getattr(self, "_log", None)
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=stdout, stderr=log, text=True, env=env)
        self._processes.append(process)
        return process

    def _line(self) -> str:
        assert self._devices.stdout is not None
        return self._devices.stdout.readline().strip()

    def tell(self, line: str) -> str:
        """What it answers before `done`."""
        assert self._devices.stdin is not None
        self._devices.stdin.write(line + "\n")
        self._devices.stdin.flush()
        answer = self._line()
        if answer != "done":
            assert self._line() == "done"
        return answer

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait(PATIENCE_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._log.close()


@pytest.fixture(scope="session")
def bluez(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bluez]:
    if not there():
        pytest.skip("needs python3-dbusmock")
    made = Bluez(tmp_path_factory.mktemp("bluez"))
    yield made
    made.stop()


@pytest.fixture
async def ble(bluez: Bluez, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """The mapper under real bleak, on that bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bluez.address)
    mappers = Mappers(tmp_path)
    yield mappers.find("bluetooth")
    await mappers.aclose()
