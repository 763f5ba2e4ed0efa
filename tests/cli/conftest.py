import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from build.fleet import temporary
from build.group import Group, OnLoopback
from edged.cli.exits import INTERRUPTED

DEADLINE_S = 60

Edged = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def edged(tmp_path: Path) -> Edged:
    """Runs the real command in `tmp_path`, whose `state` is the node's state directory."""
    (tmp_path / "edged.toml").write_text(f'[node]\nstate_dir = "{tmp_path}/state"\n')

    def run(*arguments: str | Path, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        root = Path(__file__).resolve().parents[2]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EDGED_")}
        environ = {**clean, "PYTHONPATH": str(root), "EDGED_CONFIG": str(tmp_path / "edged.toml"), **(env or {})}
        argv = [sys.executable, "-m", "edged", *map(str, arguments)]
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=DEADLINE_S, cwd=tmp_path, env=environ, check=False
        )

    return run


@pytest.fixture
def failed() -> Callable[[subprocess.CompletedProcess[str], int, str], None]:
    """Asserts an exit code and that the error is one line on stderr with these words."""

    def check(ended: subprocess.CompletedProcess[str], code: int, words: str) -> None:
        assert ended.returncode == code, ended.stderr
        assert words in ended.stderr
        assert ended.stderr.startswith("edged: ")
        assert ended.stderr.count("\n") == 1
        assert ended.stdout == ""

    return check


@pytest.fixture
def daemon(tmp_path: Path) -> Callable[[int, object], AbstractContextManager[list[bytes]]]:
    """`with daemon(200, body) as asked`: answers one request on the daemon's socket. Status 0: the body, byte for byte."""

    @contextmanager
    def answering(status: int, body: object) -> Iterator[list[bytes]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(data), data) if status else data
        asked: list[bytes] = []
        (tmp_path / "state").mkdir(exist_ok=True)
        path = tmp_path / "state/api.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(DEADLINE_S)

            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            yield asked
            thread.join()
        path.unlink()

    return answering


BOILER = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: boiler, namespace: default}
spec:
  protocol: virtual
  properties:
    - {name: temperature, type: FLOAT, unit: "°C", visitors: {configData: {kind: counter, start: 20}}}
    - name: setpoint
      type: FLOAT
      accessMode: ReadWrite
      minimum: "30"
      maximum: "80"
      visitors: {configData: {kind: constant, value: "50"}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: boiler, namespace: default}
spec:
  deviceModelRef: {name: boiler}
  nodeName: node-b
  protocol: {protocolName: virtual}
  properties:
    - {name: temperature, collectCycle: 100, reportCycle: 100}
    - {name: setpoint, collectCycle: 100, reportCycle: 100}
  methods:
    - {name: Heat, propertyNames: [setpoint]}
"""


class Gateways:
    """Two daemons of one group; the virtual device `boiler` is on the second, what is typed is typed at the first."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.here, self.there = group.nodes
        self.socket = group.folder / self.here / "api.sock"

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "edged", "device", *map(str, arguments), "--config", str(self.group.config(self.here))]
        return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    def lines(self, count: int, *arguments: str) -> list[str]:
        """The first lines that a command prints, which then is interrupted, also when the suite runs in the background."""
        argv = ["env", "--default-signal=INT", sys.executable, "-m", "edged", "device", *arguments]
        argv += ["--config", str(self.group.config(self.here))]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            found = [process.stdout.readline() for _ in range(count)]
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == INTERRUPTED
        return found


@pytest.fixture(scope="session")
def gateways() -> Iterator[Gateways]:
    with temporary("edged-things") as folder, Group(folder, OnLoopback(2)) as group:
        group.found(bus={"mqtt": ""})
        group.start_nodes(*group.nodes)
        made = Gateways(group)
        manifest = folder / "boiler.yaml"
        manifest.write_text(BOILER.replace("node-b", made.there))
        group.local(made.here).apply(manifest)
        boiler = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices/boiler"
        group.wait("the boiler to be ok", lambda: group.local(made.here).get(boiler)["status"].get("state") == "ok", DEADLINE_S)
        yield made
