import subprocess
import sys
from typing import Any


def test_version_is_quick_and_imports_little(edged: Any) -> None:
    assert edged("version").stdout == edged("--version").stdout == "edged 0.1.0\n"
    program = "import sys; from edged.__main__ import main; main(['version']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"trio", "cryptography", "rich", "docker", "apsw", "qh3", "yaml"} & set(loaded)


def test_without_an_identity_the_daemon_does_not_start(edged: Any, failed: Any) -> None:
    failed(edged("run"), 2, "node.key is missing: run `edged join BUNDLE` first")
