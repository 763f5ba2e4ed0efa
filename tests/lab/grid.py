"""A relay and a hub a node, running in an Internet: what they say, and waiting for it. For the tests and the benchmark."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from build.internet import RELAY, Internet

ROOT = Path(__file__).parents[2]
PORT = 7443
READY_S = 30.0
STOP_S = 20.0

Event = dict[str, Any]


class Grid:
    """All that was said so far: `events`, in order. `up` is when the last hub began to run."""

    def __init__(self, lines: "queue.Queue[bytes]") -> None:
        self._lines = lines
        self.events: list[Event] = []
        self.paths: dict[tuple[str, str], str] = {}

    def wait(self, until: Callable[[], bool], seconds: float) -> None:
        """Take events until it is so. AssertionError with the paths when it is not within so many seconds."""
        deadline = time.monotonic() + seconds
        while not until():
            try:
                event = json.loads(self._lines.get(timeout=max(deadline - time.monotonic(), 0.01)))
            except queue.Empty:
                raise AssertionError(f"not within {seconds} s: {self.paths}") from None
            self.events.append(event)
            if "path" in event:
                self.paths[event["node"], event["peer"]] = event["path"]

    def first(self, node: str, peer: str = "", **what: object) -> float | None:
        """When a node first said so of a peer, None until it has."""
        return next((each["at"] for each in self.events if self._is(each, node, peer, what)), None)

    def last(self, node: str, peer: str, key: str) -> Event | None:
        """The last event of that kind."""
        return next((each for each in reversed(self.events) if self._is(each, node, peer, {}) and key in each), None)

    @staticmethod
    def _is(event: Event, node: str, peer: str, what: Mapping[str, object]) -> bool:
        return (event["node"], event["peer"]) == (node, peer) and all(event.get(key) == value for key, value in what.items())

    def met(self, one: str, other: str) -> float | None:
        """Seconds from when both hubs ran until a byte had gone to the other and back; None until then."""
        ups = [self.first(node, up=True) for node in (one, other)]
        echoes = [self.first(one, other, echo=True), self.first(other, one, echo=True)]
        return min(filter(None, echoes)) - max(filter(None, ups)) if any(echoes) and all(ups) else None

    def direct(self, one: str, other: str) -> float | None:
        """Seconds from when both hubs ran until both used a direct path; None until then."""
        ups = [self.first(node, up=True) for node in (one, other)]
        found = [
            min(filter(None, [self.first(*ends, path=kind) for kind in ("lan", "direct")]), default=None)
            for ends in ((one, other), (other, one))
        ]
        return max(filter(None, found)) - max(filter(None, ups)) if all(found) and all(ups) else None


@contextmanager
def running(
    internet: Internet,
    fleet: Callable[..., Path],
    authority: Path,
    fetch: Mapping[str, tuple[str, int]] | None = None,
    peers: Mapping[str, Mapping[str, list[str]]] | None = None,
) -> Iterator[Grid]:
    """A relay and hubs on all nodes, until the block ends. `fleet` makes state directories; `fetch`: node -> (from, MB).

    `peers`: node -> the addresses of its peers; then they know no relay.
    """
    nodes = [node for site in internet.sites for node in site.nodes if node != RELAY]
    specs = {}
    for node in nodes:
        host = internet.relay(node)
        specs[node] = {
            "state": str(fleet(node)),
            "namespace": internet.name(node),
            "listen": "[::]:7400" if host.startswith("[") else "0.0.0.0:7400",
            "relays": [f"ws://{host}:{PORT}"] if peers is None else [],
            "peers": (peers or {}).get(node, {}),
            "fetch": (fetch or {}).get(node),
        }
    relay = internet.popen(
        RELAY,
        [sys.executable, "-m", "relay", "run", "--listen", f"[::]:{PORT}", "--behind-proxy", "--authority", authority],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    assert relay.stderr is not None
    try:
        assert b"listening" in relay.stderr.readline()
        threading.Thread(target=relay.stderr.read, daemon=True).start()
        argv = [sys.executable, str(Path(__file__).with_name("hubs.py"))]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as hubs:
            assert hubs.stdin is not None
            assert hubs.stdout is not None
            hubs.stdin.write(json.dumps(specs).encode())
            hubs.stdin.close()
            lines: queue.Queue[bytes] = queue.Queue()
            reader = threading.Thread(target=lambda: [lines.put(line) for line in hubs.stdout or ()], daemon=True)
            reader.start()
            try:
                yield Grid(lines)
            finally:
                hubs.terminate()
                hubs.wait(STOP_S)
                reader.join(STOP_S)
    finally:
        relay.terminate()
        relay.wait(STOP_S)
        relay.stderr.close()
