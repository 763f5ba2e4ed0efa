"""The composition root as a whole runs in tests/e2e; here, what it must not drag in."""

import subprocess
import sys
import time

from edged.daemon import wall_clock

UNNEEDED = {"docker", "http.client", "jsonpatch", "prometheus_client", "pymodbus", "rich", "yaml"}


def test_the_daemon_loads_no_module_before_somebody_needs_it() -> None:
    program = "import sys, edged.daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "qh3.quic.connection" in loaded
    assert not UNNEEDED & set(loaded)


def test_the_wall_clock_is_the_machines_and_an_offset() -> None:
    for offset in (0.0, 86_400.0, -0.5):
        wall, before = wall_clock(offset), time.time()
        assert before + offset - 0.001 <= wall() <= time.time() + offset + 0.001
