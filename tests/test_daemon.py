"""The composition root as a whole runs in tests/e2e; here, what it must not drag in."""

import subprocess
import sys
import time

import pytest
import trio

from edged import daemon
from edged.config import Config, MeshSettings, RuntimeSettings
from edged.daemon import pods, wall_clock
from edged.errors import UnreachableError

UNNEEDED = {
    *("docker", "http.client", "jsonpatch", "prometheus_client", "pymodbus", "rich", "yaml"),
    *("asyncua", "bleak", "edged.device.modbus", "grpclib", "paho", "pymysql", "redis"),  # what only some devices need
}


def test_the_daemon_loads_no_module_before_somebody_needs_it() -> None:
    program = "import sys, edged.daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "qh3.quic.connection" in loaded
    assert not UNNEEDED & set(loaded)


def test_the_wall_clock_is_the_machines_and_an_offset() -> None:
    for offset in (0.0, 86_400.0, -0.5):
        wall, before = wall_clock(offset), time.time()
        assert before + offset - 0.001 <= wall() <= time.time() + offset + 0.001


class _Torn:
    """A stream whose link is lost after the first line."""

    def __init__(self) -> None:
        self._lines = [b"one\n"]

    async def __aenter__(self) -> "_Torn":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def receive_some(self, most: int) -> bytes:
        if not self._lines:
            raise trio.BrokenResourceError("link lost")
        return self._lines.pop()


async def test_what_another_node_says_does_not_look_whole_when_its_link_is_lost() -> None:
    text = daemon._text(_Torn())  # type: ignore[arg-type]
    assert [await anext(text), await anext(text)] == [b"", b"one\n"]
    with pytest.raises(UnreachableError, match="breaks off: link lost"):
        await anext(text)


SCRIPT = """
set -e
ip link set lo up
ip link add lan type veth peer name far
ip addr add {address} dev lan
ip link set lan up
ip link set far up
exec "$0" -c 'from edged.config import *; from edged.daemon import pods; print(*pods(Config(), root=True), sep=" | ")'
"""


@pytest.mark.root
@pytest.mark.tool("ip")
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.5/24", "10.42.0.0/16 | "),
        ("10.42.3.5/24", "None | no pod network 10.42.0.0/16, this machine reaches 10.42.3.0/24 by lan: set mesh.pod_network"),
        ("10.1.2.3/8", "None | no pod network 10.42.0.0/16, this machine reaches 10.0.0.0/8 by lan: set mesh.pod_network"),
    ],
)
def test_a_network_that_the_machine_reaches_otherwise_is_not_taken(address: str, expected: str) -> None:
    argv = ["unshare", "--net", "sh", "-c", SCRIPT.format(address=address), sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith(expected)


def test_who_carries_no_calls_or_names_a_network_has_no_pod_network() -> None:
    for config in (
        Config(runtime=RuntimeSettings(network="bridge")),
        Config(mesh=MeshSettings(enabled=False)),
    ):
        assert pods(config, root=True) == (None, "")
    assert pods(Config(), root=False) == (None, "")
