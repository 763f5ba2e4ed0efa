import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_no_daemon_is_exit_4(edged: Any, daemon: Any, failed: Any, tmp_path: Path) -> None:
    failed(edged("status"), 4, "is the daemon running?")
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "state/api.sock"))
    failed(edged("status"), 4, "Connection refused")


def test_a_daemon_that_refuses_is_exit_5(edged: Any, daemon: Any, failed: Any, tmp_path: Path) -> None:
    with daemon(403, b"not you"):
        failed(edged("status"), 5, "the daemon refuses: not you")


@pytest.mark.root
def test_a_socket_of_another_user_is_exit_5(failed: Any, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "state/api.sock"))
        (tmp_path / "state/api.sock").chmod(0o600)
        program = (
            "import os, sys; from edged.__main__ import main, parser; parser()\n"
            "os.setresuid(65534, 65534, 65534); sys.exit(main(['status']))"
        )
        environ = {"EDGED_API__SOCKET": str(tmp_path / "state/api.sock"), "EDGED_CONFIG": "/dev/null"}
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=False)
    failed(ended, 5, "this user may not ask the daemon")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (0, b"garbage\r\n\r\n", "not an HTTP answer"),
        (0, b"", "not an HTTP answer"),
        (0, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "not an HTTP answer"),
        (500, b"oh", "answered 500: oh"),
        (404, b'{"kind": "Status", "message": "not found"}', "answered 404: not found"),
        (404, b"[]", "answered 404: []"),
        (200, b"{", "not JSON"),
        (200, b"[" * 100_000, "not JSON"),
    ],
)
def test_nonsense_is_one_line_and_exit_1(edged: Any, daemon: Any, failed: Any, status: int, body: bytes, words: str) -> None:
    with daemon(status, body):
        failed(edged("status"), 1, words)
