"""The same against an independent server, node-opcua, which npm gets once into .work."""

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio

from edged.device.mapper import PropertyError, Sample, Want

ROOT = Path(__file__).parents[3]
HOME = ROOT / ".work" / "node-opcua"
PACKAGE = "node-opcua-server@2.186.4"
INSTALL_S = 300
PATIENCE_S = 30


def modules() -> Path:
    """Where the packages are; got now when they are not there. Skips where npm has no way out."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs npm")
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # lanes of the suite that come at once
        made = HOME / "made-from"
        if not made.exists() or made.read_text() != PACKAGE:
            argv = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(HOME), PACKAGE]
            try:
                done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=INSTALL_S)
            except subprocess.TimeoutExpired:
                pytest.skip("npm gets nothing")
            if done.returncode != 0:
                pytest.skip(f"npm gets nothing: {done.stderr[-200:]}")
            made.write_text(PACKAGE)
    return HOME / "node_modules"


class NodeServer:
    def __init__(self, folder: Path, port: int) -> None:
        program = Path(__file__).with_name("node_server.cjs")
        argv = ["node", str(program), str(modules()), str(port), str(folder)]
        with (folder / "node.log").open("w") as log:
            pipe = subprocess.PIPE
            env = {"HOME": str(folder), "PATH": os.environ["PATH"]}  # it keeps certificates in its home
            self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=log, text=True, env=env)
        self._until(f"port {port}")
        self.url = f"opc.tcp://127.0.0.1:{port}/"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._until("done")

    def _until(self, word: str) -> None:
        """It says more between, of its own."""
        while (said := self._line()) != word:
            assert said or self.process.poll() is None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="module")
def node_server() -> Iterator[NodeServer]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    home = HOME / "home"  # its certificates take it seconds to make: they are kept
    home.mkdir(parents=True, exist_ok=True)
    made = NodeServer(home, port)
    yield made
    made.stop()


async def test_read_and_write(opcua: Any, node_server: NodeServer) -> None:
    session = await opcua.connect(opcua.address({"url": node_server.url, "timeout": 20}))
    setpoint = opcua.point("FLOAT", {"browseName": "1:Boiler/1:setpoint"})
    none = opcua.point("FLOAT", {"nodeID": "ns=1;s=none"})
    found = await session.read([setpoint, none])
    assert isinstance(found[0], Sample)
    assert isinstance(found[1], PropertyError)
    await session.write(setpoint, Decimal("22.7"))
    assert (await session.read([setpoint]))[0].value == Decimal("22.7")
    await session.aclose()


@pytest.mark.parametrize("forget", [False, True], ids=["the session is there", "the session is gone"])
async def test_nothing_is_lost_when_the_channel_breaks(opcua: Any, node_server: NodeServer, ear: Any, forget: bool) -> None:
    """Without a session what is monitored is transferred to a new one."""
    node_server.tell("set -1")
    address = opcua.address({"url": node_server.url, "timeout": 20})
    wants = [Want(opcua.point("INT", {"nodeID": "ns=1;s=level"}), 0.1, Decimal(0))]
    heard = ear()
    for first in (0, 100):
        session = await opcua.connect(address)
        async with trio.open_nursery() as nursery:
            await nursery.start(heard.listen, session, wants)
            await heard.until(lambda first=first: heard.values()[-1:] == ["12" if first else "-1"])  # type: ignore[misc]
            for value in range(first, first + 3):
                node_server.tell(f"set {value}")
            await heard.until(lambda first=first: heard.values()[-1] == str(first + 2))  # type: ignore[misc]
            if first == 0:
                node_server.tell("drop")
                await heard.until(lambda: bool(heard.error))
            nursery.cancel_scope.cancel()
        await session.aclose()
        if first == 0:
            if forget:
                node_server.tell("forget")
            for value in range(3, 13):
                node_server.tell(f"set {value}")
    assert heard.values() == ["-1", *map(str, range(13)), *map(str, range(100, 103))]


async def test_what_the_server_could_not_keep_is_said(
    opcua: Any, node_server: NodeServer, ear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.device.opcua.nodes.MAX_QUEUE", 4)
    node_server.tell("set -1")
    address = opcua.address({"url": node_server.url, "timeout": 20})
    wants = [Want(opcua.point("INT", {"nodeID": "ns=1;s=level"}), 0.1, Decimal(0))]
    heard = ear()
    session = await opcua.connect(address)
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, wants)
        await heard.until(lambda: heard.values() == ["-1"])
        node_server.tell("drop")
        await heard.until(lambda: bool(heard.error))
        nursery.cancel_scope.cancel()
    await session.aclose()
    for value in range(12):
        node_server.tell(f"set {value}")
    session = await opcua.connect(address)
    async with trio.open_nursery() as nursery:
        await nursery.start(heard.listen, session, wants)
        await heard.until(lambda: heard.values()[-1].startswith("11"))
        nursery.cancel_scope.cancel()
    await session.aclose()
    assert "after a gap" in " ".join(heard.values()[1:])
