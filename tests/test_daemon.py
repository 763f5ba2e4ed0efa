"""The composition root as a whole runs in tests/e2e; here, what it must not drag in."""

import subprocess
import sys

UNNEEDED = {"docker", "http.client", "jsonpatch", "prometheus_client", "pymodbus", "rich", "yaml"}


def test_the_daemon_loads_no_module_before_somebody_needs_it() -> None:
    program = "import sys, edged.daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "qh3.quic.connection" in loaded
    assert not UNNEEDED & set(loaded)
