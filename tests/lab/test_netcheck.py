"""`edged netcheck` behind real NATs: what it says of them, of blocked UDP, and of a network that lets out HTTP only."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from build.lab import NAT, RELAY, SITE, Lab
from edged.identity.authority import Authority
from edged.identity.bundle import join

ROOT = Path(__file__).parents[2]
PORT = 7443

pytestmark = [pytest.mark.root, pytest.mark.tool("nft"), pytest.mark.tool("ip")]


@contextmanager
def relay(lab: Lab, folder: Path) -> Iterator[None]:
    """A relay with TLS in the public network; `folder` gets the state of gw-a, which knows it."""
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.create(folder / "authority", "acme", now)
    bundle = authority.issue_relay("relay", [RELAY], now)
    for name, data in (("crt", bundle.certificate), ("key", bundle.key), ("authority.crt", authority.certificate_pem)):
        (folder / name).write_bytes(data)
    join(authority.issue("gw-a", "site", (f"wss://{RELAY}:{PORT}",), now), folder / "state")
    files = ("--cert", folder / "crt", "--key", folder / "key", "--authority", folder / "authority.crt")
    argv = [sys.executable, "-m", "relay", "run", "--listen", f"{RELAY}:{PORT}", *files]
    process = lab.popen("public", argv, cwd=ROOT, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        assert b"listening on" in process.stderr.readline()
        yield
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def netcheck(lab: Lab, folder: Path) -> dict[str, Any]:
    (folder / "edged.toml").write_text(f'[node]\nstate_dir = "{folder}/state"\n')
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = lab.argv("a", [sys.executable, "-m", "edged", "netcheck", "--json", "--config", folder / "edged.toml"])
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=environ)
    found: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == (0 if found["udp"] else 3), ended.stderr
    assert found["addresses"] == [SITE["a"]]
    assert found["relays"][0]["connected"]
    return found


def test_an_easy_nat_and_blocked_udp(tmp_path: Path) -> None:
    with Lab() as lab, relay(lab, tmp_path):
        found = netcheck(lab, tmp_path)
        assert (found["udp"], found["nat"], found["observed"]) == (True, "easy", [f"{NAT['a']}:7400"])
        assert found["relays"][0]["udp_ms"] < 1000
        assert found["port_mapping"] == "none: gateway 192.168.1.1 offers none"
        lab.run("nat-a", ["nft", "insert", "rule", "inet", "nat", "forward", "meta", "l4proto", "udp", "drop"])
        found = netcheck(lab, tmp_path)
        assert (found["udp"], found["nat"], found["observed"]) == (False, "blocked", [])


def test_a_hard_nat(tmp_path: Path) -> None:
    with Lab(symmetric=True) as lab, relay(lab, tmp_path):
        found = netcheck(lab, tmp_path)
        assert (found["udp"], found["nat"]) == (True, "hard")
        assert len({address.rpartition(":")[0] for address in found["observed"]}) == 1
        assert len(set(found["observed"])) == 2
