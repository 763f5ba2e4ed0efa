import base64
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from build.kube import Kube, RefusedError, collection, local
from edged.identity.authority import Authority


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str, Any]]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.seen.append((self.command, self.path, self.headers.get("Content-Type", ""), body))
        missing = self.command == "PATCH" and self.path.endswith("/new")
        data = json.dumps({"message": "not found"} if missing else {"kind": "Answer"}).encode()
        self.send_response(404 if missing else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[tuple[Kube, list[tuple[str, str, str, Any]]]]:
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.create(tmp_path / "authority", "test", now)
    served, user = authority.issue_relay("api", ["127.0.0.1"], now), authority.issue("gw-a", "site", [], now)
    (tmp_path / "served.pem").write_bytes(served.certificate + served.key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate_pem.decode())
    tls.load_cert_chain(tmp_path / "served.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    seen: list[tuple[str, str, str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Here", (Handler,), {"seen": seen}))
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    config = tmp_path / "kubeconfig"
    encoded = {
        "certificate-authority-data": authority.certificate_pem,
        "client-certificate-data": user.certificate,
        "client-key-data": user.key,
    }
    texts = {name: base64.b64encode(data).decode() for name, data in encoded.items()}
    cluster = {
        "server": f"https://127.0.0.1:{server.server_port}",
        "certificate-authority-data": texts.pop("certificate-authority-data"),
    }
    config.write_text(yaml.safe_dump({"clusters": [{"cluster": cluster}], "users": [{"user": texts}]}))
    try:
        yield Kube(config, lambda host, port: socket.create_connection((host, port), 5)), seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_requests_carry_the_client_certificate(kube: tuple[Kube, list[Any]]) -> None:
    client, seen = kube
    assert client.get("/api/v1/nodes") == {"kind": "Answer"}
    assert seen == [("GET", "/api/v1/nodes", "application/json", None)]


def test_the_key_is_for_its_owner_only(kube: tuple[Kube, list[Any]], tmp_path: Path) -> None:
    assert (tmp_path / "kubeconfig.pem").stat().st_mode & 0o777 == 0o600


def test_apply_changes_or_creates(kube: tuple[Kube, list[Any]], tmp_path: Path) -> None:
    client, seen = kube
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old"}}
    new = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "new", "namespace": "shop"}}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump_all([old, new]))
    client.apply(tmp_path / "both.yaml")
    assert [(method, path) for method, path, _, _ in seen] == [
        ("PATCH", "/api/v1/namespaces/default/configmaps/old"),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/new"),
        ("POST", "/apis/apps/v1/namespaces/shop/deployments"),
    ]
    assert seen[2][3] == new


def test_a_list_is_a_json_patch(kube: tuple[Kube, list[Any]]) -> None:
    client, seen = kube
    client.patch("/x", [{"op": "remove", "path": "/y"}])
    assert seen[0][2] == "application/json-patch+json"


def test_an_error_answer_is_told(kube: tuple[Kube, list[Any]]) -> None:
    client, _ = kube
    with pytest.raises(RefusedError, match=r"PATCH /new: 404 .*not found"):
        client.patch("/new", {})


def test_objects_of_the_whole_fleet_have_no_namespace() -> None:
    assert collection({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}) == "/api/v1/namespaces"


def test_delete(kube: tuple[Kube, list[Any]]) -> None:
    client, seen = kube
    client.delete("/x")
    assert seen[0][:2] == ("DELETE", "/x")


EVENTS = [{"type": "ADDED", "object": {"n": 1}}, {"type": "MODIFIED", "object": {"n": 2}}]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """A Unix socket at which one watch is answered with EVENTS, a line and a half first; and what was asked there."""
    asked: list[bytes] = []
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(65536))
            refused = b"/secrets" in asked[0]
            connection.sendall(f"HTTP/1.1 {403 if refused else 200} X\r\nConnection: close\r\n\r\n".encode() + lines[:50])
            connection.sendall(lines[50:])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "api.sock"))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield tmp_path / "api.sock", asked
        thread.join()


def test_a_watch_through_a_unix_socket(door: tuple[Path, list[bytes]]) -> None:
    path, asked = door
    assert list(local(path).watch("/api/v1/pods", 5)) == [("ADDED", {"n": 1}), ("MODIFIED", {"n": 2})]
    assert asked[0].startswith(b"GET /api/v1/pods?watch=true&timeoutSeconds=5 HTTP/1.1\r\nHost: localhost\r\n")


def test_a_watch_goes_on_after_a_version(door: tuple[Path, list[bytes]]) -> None:
    path, asked = door
    assert len(list(local(path).watch("/api/v1/pods", 5, since=7))) == 2
    assert asked[0].startswith(b"GET /api/v1/pods?watch=true&timeoutSeconds=5&resourceVersion=7 HTTP/1.1\r\n")


def test_a_refused_watch_is_told(door: tuple[Path, list[bytes]]) -> None:
    with pytest.raises(RefusedError, match="GET /api/v1/secrets: 403"):
        next(local(door[0]).watch("/api/v1/secrets", 5))


def test_where_no_daemon_is_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        local(tmp_path / "api.sock").get("/readyz")
