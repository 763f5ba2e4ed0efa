"""Discovery as the kernel carries it: hubs in namespaces on one switch, real multicast, no relay and nothing configured."""

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from random import Random
from threading import Thread
from typing import Any

import pytest

from build.lab import Lan
from edged.hub.beacon import Beacons, Hint
from edged.hub.discovery import GROUP, MAX_INTERFACES, Discovery, _chosen
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import Address
from edged.kit.log import Log

PROGRAM = Path(__file__).with_name("lan_node.py")
DEADLINE_S = 60.0  # generous: a busy machine is slow, not wrong
SEND = """
import socket, sys
sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sending.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
data = bytes.fromhex(sys.stdin.read())
for _ in range(200):
    sending.sendto(data, (sys.argv[2], int(sys.argv[3])))
"""


class Node:
    """A running lan_node.py."""

    def __init__(self, lan: Lan, place: str, state: Path, *options: str) -> None:
        self.began = time.monotonic()
        self.log = state.with_name(f"{state.name}.log").open("ab")
        argv = [sys.executable, PROGRAM, state, *options]
        self.process = lan.popen(place, argv, stdout=subprocess.PIPE, stderr=self.log)
        self._said: Queue[str] = Queue()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._said.put(line.decode())

    def linked(self, *names: str) -> float:
        """Wait until exactly these are linked; the time when they were."""
        until = time.monotonic() + DEADLINE_S
        while True:
            said = json.loads(self._said.get(timeout=max(until - time.monotonic(), 0.01)))
            if said["linked"] == sorted(names):
                return float(said["at"])

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(DEADLINE_S)
        self._reader.join()
        self.log.close()


Start = Callable[..., Node]


@pytest.fixture
def lan() -> Iterator[Lan]:
    with Lan(3) as made:
        yield made


@pytest.fixture
def start(lan: Lan) -> Iterator[Start]:
    started: list[Node] = []

    def starting(place: str, state: Path, *options: str) -> Node:
        node = Node(lan, place, state, *options)
        started.append(node)
        return node

    yield starting
    for node in started:
        node.end(signal.SIGKILL)


@pytest.mark.root
@pytest.mark.tool("ip")
def test_a_group_without_a_relay_forms(start: Start, fleet: Any) -> None:
    names = ["gw-a", "gw-b", "gw-c"]
    nodes = [start(f"n{number}", fleet(name)) for number, name in enumerate(names, 1)]
    whole = max(node.linked(*(other for other in names if other != name)) for node, name in zip(nodes, names, strict=True))
    assert whole - nodes[-1].began < 20  # 0.7 s on a machine that has nothing else to do, most of it Python's start


@pytest.mark.root
@pytest.mark.tool("ip")
@pytest.mark.parametrize("late", ["gw-a", "gw-b"])
def test_a_newcomer_of_either_name_is_linked_at_once(start: Start, fleet: Any, late: str) -> None:
    early = "gw-b" if late == "gw-a" else "gw-a"
    first = start("n1", fleet(early))
    first.linked()
    second = start("n2", fleet(late))
    assert second.linked(early) - second.began < 20


@pytest.mark.root
@pytest.mark.tool("ip")
def test_strangers_on_the_lan_are_no_peers(lan: Lan, start: Start, fleet: Any, acme: Any, tmp_path: Path) -> None:
    one, other_group = start("n1", fleet("gw-a")), start("n2", fleet("gw-b", group="yard"))
    one.linked()
    other_group.linked()
    theirs = Beacons(acme.identity("gw-z"), acme.verifier, b"another-").make(7400)
    forged = bytearray(Beacons(Identity.load(tmp_path / "gw-b"), verifier(tmp_path / "gw-b"), b"forged--").make(7400))
    forged[-1] ^= 1
    for data in (theirs, bytes(forged), b"", b"\x2e", bytes(60_000), b"\x2eeb1" + bytes(1346)):
        lan.run("n3", [sys.executable, "-c", SEND, lan.address("n3"), GROUP.host, str(GROUP.port)], text=data.hex())
    friend = start("n3", fleet("gw-c"))
    friend.linked("gw-a")  # and no other
    one.linked("gw-c")


def verifier(state: Path) -> Verifier:
    return Verifier(Identity.load(state).authority_pem)


@pytest.mark.root
@pytest.mark.tool("ip")
def test_a_node_is_found_again_where_it_was_last_without_beacons(start: Start, fleet: Any) -> None:
    states = [fleet("gw-a"), fleet("gw-b")]
    nodes = [start("n1", states[0]), start("n2", states[1])]
    nodes[0].linked("gw-b")
    nodes[1].linked("gw-a")
    for node in nodes:
        node.end()
    assert (states[0] / "peers.json").stat().st_mode & 0o777 == 0o600
    again = [start("n1", states[0], "quiet"), start("n2", states[1], "quiet")]
    again[0].linked("gw-b")
    again[1].linked("gw-a")


@pytest.mark.root
@pytest.mark.tool("ip")
def test_a_node_that_was_killed_is_linked_again_before_its_old_link_times_out(start: Start, fleet: Any, tmp_path: Path) -> None:
    first, second = start("n1", fleet("gw-a")), start("n2", fleet("gw-b"))
    second.linked("gw-a")
    first.linked("gw-b")
    second.end(signal.SIGKILL)
    start("n2", tmp_path / "gw-b").linked("gw-a")
    said = (tmp_path / "gw-a.log").read_text()
    assert "link to gw-b lost: the peer does not know this link any more" in said


@pytest.mark.root
@pytest.mark.tool("ip")
def test_an_interface_that_comes_late_is_joined(lan: Lan, start: Start, fleet: Any) -> None:
    lan.run("n1", ["ip", "addr", "flush", "dev", "eth0"])
    first, second = start("n1", fleet("gw-a")), start("n2", fleet("gw-b"))
    first.linked()
    second.linked()
    lan.run("n1", ["ip", "addr", "add", f"{lan.address('n1')}/24", "dev", "eth0"])
    assert first.linked("gw-b") > 0
    second.linked("gw-a")


@pytest.mark.root
@pytest.mark.tool("ip")
def test_a_lan_that_was_cut_heals(lan: Lan, start: Start, fleet: Any) -> None:
    first, second = start("n1", fleet("gw-a")), start("n2", fleet("gw-b"))
    first.linked("gw-b")
    second.linked("gw-a")
    lan.plug("n2", plugged=False)
    first.linked()
    second.linked()
    lan.plug("n2", plugged=True)
    healed = time.monotonic()
    assert first.linked("gw-b") - healed < 40


class Ear:
    """Whom a Discovery tells."""

    searching = True

    def __init__(self) -> None:
        self.heard: list[tuple[Hint, Address]] = []

    def known(self, hint: Hint, address: Address) -> bool:
        return hint.node == "gw-dull"

    def found(self, hint: Hint, address: Address) -> None:
        self.heard.append((hint, address))


def discovery(fleet: Any, log: io.StringIO, ear: Ear) -> Discovery:
    return Discovery(
        Address("0.0.0.0", 7400),
        ear,
        identity=fleet.identity("gw-a"),
        verifier=fleet.verifier,
        log=Log(stream=log),
        random=Random(1),
        wall=fleet.now.timestamp,
        token=bytes,
    )


async def test_a_beacon_is_found_where_it_came_from_with_its_port(acme: Any) -> None:
    ear = Ear()
    made = discovery(acme, io.StringIO(), ear)
    said = {name: Beacons(acme.identity(name), acme.verifier, b"12345678").make(7444) for name in ("gw-b", "gw-dull")}
    made._take(said["gw-b"], "192.168.7.2")
    made._take(said["gw-b"], "192.168.7.9")  # replayed by another host
    made._take(said["gw-dull"], "192.168.7.3")
    made._take(b"nonsense", "192.168.7.4")
    assert ear.heard == [(Hint("gw-b", 7444, fresh=True), Address("192.168.7.2", 7444))]
    assert made.refused == 2


async def test_where_multicast_cannot_be_sent_it_is_said_once(acme: Any, nursery: Any, until: Any) -> None:
    log = io.StringIO()
    made = discovery(acme, log, Ear())
    nursery.start_soon(made.run)
    await until(lambda: made._socket is not None)
    made._interfaces = {99_999: "192.0.2.1"}  # one that is not there
    made._send()
    made._send()
    said = [line for line in log.getvalue().splitlines() if "192.0.2.1" in line]
    assert len(said) == 1
    assert '"info"' in said[0]


def test_beacons_leave_where_the_links_socket_is_reached() -> None:
    interfaces = {number: [f"10.0.{number}.1", f"10.0.{number}.2"] for number in range(1, 30)}
    everywhere = _chosen(interfaces, Address("0.0.0.0", 7400))
    assert len(everywhere) == MAX_INTERFACES
    assert everywhere[1] == "10.0.1.1"
    assert _chosen(interfaces, Address("10.0.5.2", 7400)) == {5: "10.0.5.2"}
    assert _chosen(interfaces, Address("::", 7400)) == everywhere
    assert _chosen(interfaces, Address("fd00::5", 7400)) == {}
