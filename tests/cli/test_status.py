import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ANSWER: dict[str, Any] = {
    "node": "gw-a",
    "group": "site",
    "version": "0.1.0",
    "revision": 42,
    "vector": {"gw-a": 17, "gw-b": 25},
    "relay": {"url": "wss://relay.example.com", "connected": True, "observed": "192.0.2.1:4000"},
    "peers": [{"node": "gw-b", "path": "lan", "rtt_ms": 0.62, "address": "10.0.0.2:7400"}],
    "pods": {"Running": 2},
    "devices": {"online": 1},
    "holder": "gw-b",
    "members": ["gw-a", "gw-b"],
    "clock_ahead_s": 0.25,
}


def test_status_is_asked_of_the_daemon_and_told_in_words(edged: Any, daemon: Any, tmp_path: Path) -> None:
    with daemon(200, ANSWER) as asked:
        ended = edged("status")
    assert asked[0].startswith(b"GET /edged/v1/status HTTP/1.1\r\n")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "node     gw-a of group site, edged 0.1.0",
        "leads    gw-b; 2 nodes are alive",
        "relay    wss://relay.example.com: connected, seen as 192.0.2.1:4000",
        "store    revision 42; gw-a 17, gw-b 25",
        "pods     Running 2",
        "devices  online 1",
        "PEER  PATH  RTT     ADDRESS",
        "gw-b  lan   0.6 ms  10.0.0.2:7400",
    ]


def test_the_peers_alone_with_their_bytes_by_path(edged: Any, daemon: Any, tmp_path: Path) -> None:
    peer = {**ANSWER["peers"][0], "sent": {"lan": 12_345_678, "relay-ws": 50_000}, "received": {"relay-ws": 200_000}}
    with daemon(200, {**ANSWER, "peers": [peer, {"node": "gw-c", "path": None}]}):
        ended = edged("status", "--peers")
    assert ended.stdout.splitlines() == [
        "PEER  PATH  RTT     ADDRESS        SENT                          RECEIVED",
        "gw-b  lan   0.6 ms  10.0.0.2:7400  lan 12.3 MB, relay-ws 0.1 MB  relay-ws 0.2 MB",
        "gw-c  away",
    ]


def test_what_the_gateway_maps_is_told(edged: Any, daemon: Any) -> None:
    with daemon(200, {**ANSWER, "port_mapping": "PCP: 203.0.113.1:7400"}):
        ended = edged("status")
    assert ended.stdout.splitlines()[3] == "port mapping  PCP: 203.0.113.1:7400"


def test_what_is_observed_is_told(edged: Any, daemon: Any, tmp_path: Path) -> None:
    for observes, words in ((["site-1", "site-2"], "site-1, site-2"), (["*"], "every other group")):
        with daemon(200, {**ANSWER, "observes": observes}):
            ended = edged("status")
        assert ended.stdout.splitlines()[1] == f"observes  {words}"


def test_what_is_wrong_with_the_disk_is_told(edged: Any, daemon: Any, tmp_path: Path) -> None:
    with daemon(200, {**ANSWER, "trouble": "I/O error (x)", "damaged": 2}):
        ended = edged("status")
    assert "; 2 registers damaged, asked of peers; takes no writes: I/O error (x)\n" in ended.stdout


def test_status_as_json_is_what_the_daemon_answers(edged: Any, daemon: Any, tmp_path: Path) -> None:
    with daemon(200, {**ANSWER, "more": [1]}):
        ended = edged("status", "--json")
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == {**ANSWER, "more": [1]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relay": {"url": "wss://r", "connected": False, "observed": None}}, "degraded: the relay wss://r away"),
        ({"members": ["gw-a"], "peers": [{"node": "gw-b", "path": None}]}, "degraded: node gw-b away"),
        ({"clock_ahead_s": 86_400.0}, "the clock of this machine is 24.0 h ahead of the others': set it"),
        ({"clock_ahead_s": -315_360_000.0}, "the clock of this machine is 3650 days behind the others': set it"),
        ({"trouble": "the disk is full (x)"}, "degraded: the store takes no writes: the disk is full (x)"),
    ],
)
def test_what_is_away_is_exit_3(edged: Any, daemon: Any, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with daemon(200, {**ANSWER, **change}):
        ended = edged("status")
    assert ended.returncode == 3
    assert words in ended.stderr
    assert "gw-a of group site" in ended.stdout


def test_a_node_that_is_heard_without_a_link_is_not_away(edged: Any, daemon: Any, tmp_path: Path) -> None:
    with daemon(200, {**ANSWER, "peers": [{"node": "gw-b", "path": None}]}):
        ended = edged("status")
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1].split() == ["gw-b", "-"]


def test_a_linked_node_of_another_group_is_not_away(edged: Any, daemon: Any, tmp_path: Path) -> None:
    for path, code in (("relay-ws", 0), (None, 3)):
        with daemon(200, {**ANSWER, "peers": [*ANSWER["peers"], {"node": "site-1/gw-x", "path": path}]}):
            assert edged("status").returncode == code


def test_a_node_without_relay_and_peers_is_not_degraded(edged: Any, daemon: Any, tmp_path: Path) -> None:
    with daemon(200, {**ANSWER, "relay": None, "peers": [], "pods": {}}):
        ended = edged("status")
    assert ended.returncode == 0
    assert "relay    none\n" in ended.stdout


def test_a_person_sees_a_table(daemon: Any, tmp_path: Path) -> None:
    (tmp_path / "edged.toml").write_text(f'[node]\nstate_dir = "{tmp_path}/state"\n')
    ours, theirs = pty.openpty()
    with daemon(200, ANSWER):
        argv = [sys.executable, "-m", "edged", "status", "--config", str(tmp_path / "edged.toml")]
        ended = subprocess.run(argv, stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(theirs)
    shown = b""
    while b"10.0.0.2:7400" not in shown:
        shown += os.read(ours, 65536)
    os.close(ours)
    assert ended.returncode == 0, ended.stderr
    assert b"PEER" in shown
    assert "─".encode() in shown


@pytest.mark.parametrize("answer", [{}, [], {**ANSWER, "peers": [{"path": 5}]}])
def test_another_answer_is_not_understood(edged: Any, daemon: Any, failed: Any, answer: object) -> None:
    with daemon(200, answer):
        failed(edged("status"), 1, "not understood")
