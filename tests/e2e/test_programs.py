"""Real programs that call each other by name from behind one NAT to behind another: what they say arrives as they said it."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from build.fleet import FailedError
from build.lab import NAT
from build.story import all_ready
from edged.cli.status import TARGET
from edged.hub.memory import FILE
from tests.bench.mesh import behind_nats, ready
from tests.e2e import programs

SECONDS = 60.0  # a bound, not an expectation: a busy machine is slow, not wrong
PROGRAMS = Path(programs.__file__)
HOST = "programs.default.svc.cluster.local"
PORTS = {"grpc": programs.GRPC, "http": programs.HTTP, "websocket": programs.WEBSOCKET, "bulk": programs.BULK}
CUT = f"""
table ip cut {{
    chain drops {{
        type filter hook prerouting priority raw
        ip daddr {NAT["b"]} meta l4proto udp drop
        ip saddr {NAT["b"]} meta l4proto udp drop
    }}
}}
"""

pytestmark = [pytest.mark.root, *(pytest.mark.tool(name) for name in ("nft", "ip", "setpriv", "curl", "busybox-static"))]


class Site:
    """Two gateways and a relay; the programs serve at gw-b, and are asked at gw-a."""

    def __init__(self, stack: ExitStack) -> None:
        self.lab, self.fleet = behind_nats(stack, "edged-programs")
        self.fleet.start_relay()
        self.fleet.start_node("gw-b")
        kube = self.fleet.start_node("gw-a")
        self.fleet.wait("both nodes to know each other", lambda: all_ready(kube), SECONDS)
        kube.create(pod())
        kube.create(service())
        self.fleet.wait("the pod", lambda: ready(kube, "programs"), SECONDS)
        self.fleet.wait("an answer", lambda: self.ask("http"), SECONDS)

    def ask(self, command: str) -> Any:
        """What programs.py at gw-a found."""
        return json.loads(self.run(sys.executable, PROGRAMS, command, HOST))

    def run(self, *argv: str | Path) -> str:
        return self.fleet.run("gw-a", argv)

    def on(self, path: str) -> None:
        """Wait until gw-a's link to gw-b goes this way."""
        look = self.fleet.local("gw-a")
        self.fleet.wait(f"path {path}", lambda: [peer["path"] for peer in look.get(TARGET)["peers"]] == [path], SECONDS)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Inside nothing passes between both NATs but through the relay."""
        self.lab.run("nat-a", ["nft", "-f", "-"], text=CUT)
        try:
            yield
        finally:
            self.lab.run("nat-a", ["nft", "delete", "table", "ip", "cut"])

    def edged(self, command: str, *options: str) -> list[str]:
        """The lines that `edged` prints at gw-a. FailedError when it exits with anything but 0."""
        return self.fleet.edged(command, *options, "--config", self.fleet.config("gw-a")).splitlines()


def pod() -> dict[str, Any]:
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {
        "name": "main",
        "image": "host",
        "command": [sys.executable, str(PROGRAMS), "serve", "$(POD_IP)"],
        "env": [address],
    }
    spec = {"nodeName": "gw-b", "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "programs", "labels": {"app": "programs"}}, "spec": spec}


def service() -> dict[str, Any]:
    ports: list[dict[str, Any]] = [{"name": name, "port": port} for name, port in PORTS.items()]
    ports.append({"name": "tftp", "port": programs.TFTP, "protocol": "UDP"})
    spec = {"selector": {"app": "programs"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "programs"}, "spec": spec}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack)


def test_a_long_lived_stream_and_all_other_programs_beside_it(site: Site) -> None:
    argv = site.fleet.site.argv("gw-a", [sys.executable, PROGRAMS, "chat", HOST])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as chat:
        assert chat.stdin is not None
        assert chat.stdout is not None

        def says(text: str) -> str:
            assert chat.stdin is not None
            assert chat.stdout is not None
            chat.stdin.write(text + "\n")
            chat.stdin.flush()
            return chat.stdout.readline()

        assert says("first") == "FIRST\n"
        site.on("direct")
        assert site.ask("grpc") == {"calls": True, "stream": True, "refused": "UNIMPLEMENTED"}
        assert site.ask("websocket") == {"exact": True, "closed": 1000}
        assert site.ask("http") == {"kept": True, "pipelined": True}
        assert site.ask("bulk") == {"bulk": "exact"}
        assert says("between") == "BETWEEN\n"
        with site.cut():
            site.on("relay-udp")
            assert says("cut") == "CUT\n"
            assert site.ask("http") == {"kept": True, "pipelined": True}
        site.on("direct")
        assert says("last") == "LAST\n"
        chat.stdin.close()
        assert [chat.stdout.readline(), json.loads(chat.stdout.readline())] == ["bye\n", {"ended": True}]


def test_curl(site: Site, tmp_path: Path) -> None:
    url = f"http://programs:{programs.HTTP}"
    pages = [f"{url}/100000", f"{url}/1", f"{url}/100000"]
    connects = site.run("curl", "-sS", "--max-time", "60", "-w", "%{num_connects}\n", "-o", tmp_path / "#1", *pages[:1])
    assert connects.split() == ["1"]
    outputs = [part for number, page in enumerate(pages) for part in ("-o", tmp_path / str(number), page)]
    assert site.run("curl", "-sS", "--max-time", "60", "-w", "%{num_connects} ", *outputs).split() == ["1", "0", "0"]
    assert (tmp_path / "2").read_bytes() == programs.pattern(100_000)
    posted = site.run("curl", "-sS", "--max-time", "60", "--data-binary", f"@{tmp_path / '0'}", "-o", tmp_path / "back", url)
    assert posted == ""
    assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(programs.pattern(100_000)).digest()


def test_tftp_by_udp(site: Site, tmp_path: Path) -> None:
    site.run("busybox", "tftp", "-g", "-r", "200000", "-l", tmp_path / "got", HOST, str(programs.TFTP))
    assert (tmp_path / "got").read_bytes() == programs.pattern(200_000)


def test_a_person_is_told_of_the_relay_first_and_then_of_the_direct_path(site: Site) -> None:
    with site.cut():
        site.fleet.stop("gw-a")
        (site.fleet.folder / "gw-a" / FILE).unlink()  # it knows no address of gw-b
        site.fleet.start_node("gw-a")
        site.on("relay-udp")
        assert re.fullmatch(r"gw-b answers by relay-udp in \S+ ms", *site.edged("ping", "gw-b", "--count", "1"))
        with pytest.raises(FailedError, match="exit 3: edged: degraded: no direct path to node gw-b"):
            site.edged("ping", "gw-b", "--until-direct", "--count", "1")
        assert site.ask("http") == {"kept": True, "pipelined": True}
        assert peer(site)[:2] == ["gw-b", "relay-udp"]
    *_, last = site.edged("ping", "gw-b", "--until-direct", "--count", "60")
    where = f"{NAT['b']}:7400"
    assert re.fullmatch(rf"gw-b answers by direct \({where}\) in \S+ ms", last)
    assert site.ask("bulk") == {"bulk": "exact"}
    name, path, _, address, *carried = peer(site)
    assert (name, path, address) == ("gw-b", "direct", where)
    for bytes_by_path in carried:
        assert {kind for kind, *_ in map(str.split, bytes_by_path.split(","))} >= {"direct", "relay-udp", "relay-ws"}
        assert float(re.findall(r"direct (\S+) MB", bytes_by_path)[0]) > programs.SENT / 1e6


def peer(site: Site) -> list[str]:
    """What `edged status --peers` shows of gw-b: name, path, round trip, address, bytes sent and received by path."""
    _, row = site.edged("status", "--peers")
    return re.split(r"\s{2,}", row)
