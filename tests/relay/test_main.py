import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

DEADLINE_S = 60


def relay(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "relay", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=_env(env),
        check=False,
    )


def _env(more: dict[str, str] | None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EDGED_")}
    return {**clean, **(more or {})}


@contextmanager
def running(*arguments: str, env: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A relay process, and the URL at which it says that it listens."""
    with subprocess.Popen(
        [sys.executable, "-m", "relay", *arguments], stderr=subprocess.PIPE, text=True, env=_env(env)
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            yield process, json.loads(line)["message"].removeprefix("listening on ")
        finally:
            process.kill()


def healthz(url: str, context: ssl.SSLContext | None = None) -> bytes:
    secured = context is not None
    opened = http.client.HTTPSConnection if secured else http.client.HTTPConnection
    options: dict[str, Any] = {"context": context} if secured else {}
    with closing(opened(urlsplit(url).netloc, timeout=DEADLINE_S, **options)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().read()


@pytest.fixture
def authority(acme: Any, tmp_path: Path) -> str:
    (tmp_path / "authority.crt").write_bytes(acme.authority.certificate_pem)
    return str(tmp_path / "authority.crt")


def test_it_serves_until_sigterm_and_tells_the_service_manager(authority: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE_S)
        manager.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "EDGED_RELAY_LISTEN": "127.0.0.1:0"}
        with running("run", "--authority", authority, env=env) as (process, url):
            assert manager.recv(100) == b"READY=1"
            assert url.startswith("ws://127.0.0.1:")
            assert healthz(url) == b"ok\n"
            process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert process.wait(DEADLINE_S) == 0


def test_it_serves_wss_with_a_certificate_of_the_fleet(acme: Any, authority: str, tmp_path: Path) -> None:
    bundle = acme.authority.issue_relay("relay-1", ["127.0.0.1"], acme.now)
    (tmp_path / "crt").write_bytes(bundle.certificate)
    (tmp_path / "key").write_bytes(bundle.key)
    (tmp_path / "relay.toml").write_text(f'cert = "{tmp_path}/crt"\nkey = "{tmp_path}/key"\nauthority = "{authority}"\n')
    flags = ["--config", f"{tmp_path}/relay.toml", "--listen", "127.0.0.1:0"]
    with running("run", *flags) as (_, url):
        context = ssl.create_default_context(cafile=authority)
        assert healthz(url, context) == b"ok\n"


def test_behind_a_proxy_it_serves_ws_on_any_address(authority: str) -> None:
    with running("run", "--authority", authority, "--listen", "0.0.0.0:0", "--behind-proxy") as (_, url):
        assert url.startswith("ws://0.0.0.0:")


def test_it_does_not_start_when_it_should_not(authority: str, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for arguments, words in [
        (["--authority", authority], "0.0.0.0:7443 would serve ws without TLS to the network"),
        (["--authority", authority, "--listen", "192.0.2.1:1"], "192.0.2.1:1 would serve ws without TLS"),
        ([], "authority: expected the file"),
        (["--authority", authority, "--cert", "x"], "cert, key: expected both or none"),
        (["--authority", str(tmp_path / "absent"), "--listen", "127.0.0.1:0"], "absent: No such file"),
        (["--authority", str(tmp_path / "no.pem"), "--listen", "127.0.0.1:0"], "no.pem: not an X.509 certificate"),
        (["--authority", authority, "--cert", authority, "--key", authority, "--listen", "127.0.0.1:0"], "cert "),
        (["--authority", authority, "--listen", "nonsense"], "the command line: listen: expected host:port"),
        (["--config", str(tmp_path / "absent.toml")], "absent.toml: No such file"),
        (["--log-level", "loud"], "log_level: expected one of debug, error, info, warning, got 'loud'"),
        (["--max-clients", "0"], "max_clients: expected a whole number from 1 to 1000000, got 0"),
    ]:
        ended = relay("run", *arguments)
        assert ended.returncode == 2, ended.stderr
        assert words in ended.stderr
        assert ended.stderr.startswith("edged-relay: ")
        assert ended.stderr.count("\n") == 1
    assert relay().returncode == 2
    assert relay("run", "--nonsense").returncode == 2


def test_unknown_settings_are_named_with_the_nearest_known_one(authority: str, tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text("listne = '127.0.0.1:1'\n")
    ended = relay("run", "--config", str(tmp_path / "relay.toml"))
    assert ended.returncode == 2
    assert f"{tmp_path}/relay.toml: listne: unknown key" in ended.stderr
    assert "did you mean listen?" in ended.stderr
    ended = relay("run", "--authority", authority, env={"EDGED_RELAY_NAMESS": "x"})
    assert ended.returncode == 2
    assert "EDGED_RELAY_NAMESS: namess: unknown key" in ended.stderr


def test_a_port_that_is_taken_fails_with_one_line(authority: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = relay("run", "--authority", authority, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("edged-relay: cannot listen on 127.0.0.1:")
    assert ended.stderr.count("\n") == 1


def test_on_all_addresses_it_hears_both_families_by_udp_as_by_tcp(acme: Any, authority: str) -> None:
    with running("run", "--authority", authority, "--listen", "[::]:0", "--behind-proxy") as (_, url):
        held = Path("/proc/net/udp6").read_text().split("\n")
        assert healthz(f"ws://127.0.0.1:{urlsplit(url).port}") == b"ok\n"
        assert any(line.split()[1].startswith("0" * 32) for line in held if line.strip()[:1].isdigit())


def test_udp_ports_that_are_taken_fail_with_one_line_unless_there_is_no_udp(authority: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        env = {"EDGED_RELAY_UDP_PORTS": f"[0, {port}]"}
        flags = ["run", "--authority", authority, "--listen", "127.0.0.1:0"]
        ended = relay(*flags, env=env)
        assert ended.returncode == 2
        words = f"udp_ports: UDP 127.0.0.1:{port}: Address already in use: set others, or udp = false"
        assert ended.stderr == f"edged-relay: {words}\n"
        with running(*flags, "--no-udp", env=env) as (_, url):
            assert healthz(url) == b"ok\n"


def test_help_shows_examples() -> None:
    for arguments in (["--help"], ["run", "--help"]):
        ended = relay(*arguments)
        assert ended.returncode == 0
        assert "examples:" in ended.stdout
    assert relay("--version").stdout.startswith("edged-relay 0.")
