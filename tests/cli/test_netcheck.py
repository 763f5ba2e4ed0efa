import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from edged.identity.authority import Authority
from edged.identity.bundle import join

FOUND: dict[str, Any] = {
    "udp": True,
    "nat": "easy",
    "addresses": ["192.168.1.2"],
    "observed": ["203.0.113.1:7400"],
    "ipv6": False,
    "port_mapping": "PCP: 203.0.113.1:7400",
    "relays": [
        {"url": "wss://relay.example.com", "connected": True, "latency_ms": 12.34, "udp_ms": 11.0, "error": ""},
        {
            "url": "wss://other.example.com",
            "connected": False,
            "latency_ms": None,
            "udp_ms": None,
            "error": "no answer in time",
        },
    ],
}


def test_what_the_daemon_found_is_told_in_words(edged: Any, daemon: Any) -> None:
    with daemon(200, FOUND) as asked:
        ended = edged("netcheck")
    assert asked[0].startswith(b"GET /edged/v1/netcheck HTTP/1.1\r\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "UDP            works",
        "NAT            easy: one address for all destinations, direct links can be made",
        "seen as        203.0.113.1:7400",
        "own addresses  192.168.1.2",
        "IPv6           no",
        "port mapping   PCP: 203.0.113.1:7400",
        "RELAY                    STATE      TCP      UDP",
        "wss://relay.example.com  connected  12.3 ms  11.0 ms",
        "wss://other.example.com  away       -        -        no answer in time",
    ]


def test_json_is_what_the_daemon_answers(edged: Any, daemon: Any) -> None:
    with daemon(200, {**FOUND, "more": 1}):
        assert json.loads(edged("netcheck", "--json").stdout) == {**FOUND, "more": 1}


@pytest.mark.parametrize(
    ("more", "trouble", "shown"),
    [
        ({"udp": False, "nat": "blocked", "observed": []}, "UDP is blocked: links go through the relay's WebSocket", "blocked"),
        ({"relays": [], "udp": None, "nat": "unknown", "observed": []}, "no relay is configured", "not known"),
        ({"relays": FOUND["relays"][1:], "udp": None}, "no relay takes this node", "not known"),
    ],
)
def test_what_is_wrong_is_told(edged: Any, daemon: Any, more: dict[str, Any], trouble: str, shown: str) -> None:
    with daemon(200, {**FOUND, **more}):
        ended = edged("netcheck")
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"edged: degraded: {trouble}")
    assert shown in ended.stdout.splitlines()[0]


def test_an_answer_that_is_none(edged: Any, daemon: Any, failed: Any) -> None:
    with daemon(200, {"nat": 1}):
        failed(edged("netcheck"), 1, "what the daemon found is not understood")


def test_without_a_daemon_it_looks_itself(edged: Any, tmp_path: Path, failed: Any) -> None:
    failed(edged("netcheck"), 2, "run `edged join BUNDLE` first")
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.create(tmp_path / "authority", "acme", now)
    join(authority.issue("gw-a", "site", ("ws://127.0.0.1:1",), now), tmp_path / "state")
    ended = edged("netcheck", "--json", env={"EDGED_HUB__LISTEN": "127.0.0.1:0"})
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr == "edged: degraded: no relay takes this node\n"
    found = json.loads(ended.stdout)
    assert (found["udp"], found["nat"], found["observed"]) == (None, "unknown", [])
    assert found["relays"][0]["url"] == "ws://127.0.0.1:1"
    assert "connect" in found["relays"][0]["error"]
