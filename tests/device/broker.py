"""A real MQTT broker for tests and benchmarks: mosquitto, started, stopped and hung at will."""

import functools
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import trio

PATIENCE_S = 30.0
LOOK_S = 0.01


class Mosquitto:
    """Listens on a free port of 127.0.0.1 from `start` to `stop`; inside `with` it is started. `lines`: its settings."""

    def __init__(self, directory: Path, lines: Sequence[str] = ()) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._file = directory / f"mosquitto-{self.port}.conf"
        settings = lines or ["allow_anonymous true"]
        self._file.write_text("\n".join([f"listener {self.port} 127.0.0.1", *settings, "user root", ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Mosquitto":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        argv = ["mosquitto", "-c", str(self._file)]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE_S
        while True:
            assert self._process.poll() is None, f"mosquitto ends with {self._process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < until, f"mosquitto does not listen after {PATIENCE_S:g} s"
                time.sleep(LOOK_S)

    def stop(self) -> None:
        """End it, as a crash does: what it holds in memory is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def hang(self) -> None:
        """It keeps its connections and does nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It goes on where it hung."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def in_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """A test that waits for a broker fails after PATIENCE_S instead of waiting for ever."""

    @functools.wraps(test)
    async def bounded(*arguments: Any, **named: Any) -> None:
        with trio.fail_after(PATIENCE_S):
            await test(*arguments, **named)

    return bounded
