import socket
from pathlib import Path

from edged.kit.notify import READY, notify


def test_the_service_manager_gets_the_state(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        assert notify(READY, {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1"


def test_an_abstract_socket_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # Linux picks a free abstract name
        manager.settimeout(10)
        name = manager.getsockname()
        assert isinstance(name, bytes)
        assert notify("STATUS=häppy", {"NOTIFY_SOCKET": "@" + name[1:].decode()})
        assert manager.recv(100) == "STATUS=häppy".encode()


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": str(tmp_path / "absent")}):
        assert not notify(READY, environ)
