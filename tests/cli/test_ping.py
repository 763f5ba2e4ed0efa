from typing import Any

import pytest

PONG: dict[str, Any] = {"node": "gw-b", "path": "direct", "rtt_ms": 1.234, "address": "203.0.113.2:7400", "sent": {"direct": 1}}


def test_an_answer_is_told_in_words(edged: Any, daemon: Any) -> None:
    with daemon(200, PONG) as asked:
        ended = edged("ping", "gw-b", "--count", "1")
    assert asked[0].startswith(b"GET /edged/v1/ping/gw-b HTTP/1.1\r\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "gw-b answers by direct (203.0.113.2:7400) in 1.2 ms\n"


def test_a_node_of_another_group(edged: Any, daemon: Any) -> None:
    with daemon(200, {**PONG, "node": "yard/gw-b", "path": "relay-ws", "address": None}) as asked:
        ended = edged("ping", "yard/gw-b", "--count", "1")
    assert asked[0].startswith(b"GET /edged/v1/ping/yard/gw-b HTTP/1.1\r\n")
    assert ended.stdout == "yard/gw-b answers by relay-ws in 1.2 ms\n"


@pytest.mark.parametrize(("path", "code"), [("lan", 0), ("direct", 0), ("relay-udp", 3), ("relay-ws", 3)])
def test_until_it_is_direct(edged: Any, daemon: Any, path: str, code: int) -> None:
    with daemon(200, {**PONG, "path": path}):
        ended = edged("ping", "gw-b", "--until-direct", "--count", "1")
    assert ended.returncode == code
    assert ("no direct path to node gw-b" in ended.stderr) == (code == 3)


def test_what_cannot_be_asked_or_understood(edged: Any, daemon: Any, failed: Any) -> None:
    failed(edged("ping", "gw-b", "--count", "0"), 2, "--count 0: expected 1 or more")
    failed(edged("ping", "gw-b"), 4, "is the daemon running?")
    with daemon(503, {"message": "no link to node gw-b, which is not known here"}):
        failed(edged("ping", "gw-b"), 4, "not known here")
    with daemon(200, {"node": "gw-b"}):
        failed(edged("ping", "gw-b"), 1, "not understood")
