"""`mesh`: calls by name between two gateways behind NATs, against plain TCP over the same wires at the same time.

Five namespaces (build/lab.py): gw-a, its NAT, the relay's network, gw-b's NAT, gw-b; MTU 1500. Real daemons, pods of the
process driver, a client at gw-a (peer.py). `plain` is a server beside gw-b's pod to which NAT-B forwards a TCP port. What is
compared is measured in turn, ROUNDS times; a figure is the median, its note the lowest and the highest.
"""

import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from build import processes
from build.fleet import NODES, PLACES, FailedError, Fleet, Namespaces, temporary
from build.kube import Kube
from build.lab import NAT, SITE, Lab, possible
from build.quickstart import MESH_DNS
from build.story import WAIT_S, all_ready, is_ready
from edged.cli.status import TARGET
from edged.hub.memory import FILE
from tests.bench import dns
from tests.bench.figures import Figure

PEER = Path(__file__).with_name("peer.py")
PORT = 9000  # of the pods, and of their services
PLAIN_PORT = 9001  # of plain TCP, which NAT-B lets in
ROUNDS = 5
FEWER = 3  # rounds of what is less the point
STREAM = 200_000_000  # bytes
NEAR = 1_000_000_000  # bytes of a stream within a node: half a second
DOWNLOAD = 1_000_000_000  # bytes of the stream whose direct path is cut
REQUESTS = 2000
CONNECT_S = 2.0
MANY = 16  # callers at a time
# Who closes a connection keeps its port for a minute. Beyond 14,000 to one address, half of all ports, the client's kernel
# takes 1.4 ms to find a free one, which is all that would be measured then; so they may be used again after a second.
REUSE_PORTS = "net.ipv4.tcp_tw_reuse=1"
SERVICES = 300
SETTLE_S = 2.0  # after the last of them, for what follows
DIRECT_S = 20.0  # for a direct path; beyond there is none
CUT_AFTER_S, CUT_S = 2.0, 8.0  # the direct path of a download: when it is cut, and for how long
LOOK_S = 0.02  # between looks at a node's status
DIRECT, RELAY_UDP, RELAY_WS = "direct", "relay-udp", "relay-ws"

PLAIN = f"""
table ip bench {{
    chain prerouting {{
        type nat hook prerouting priority dstnat
        iifname "wan" tcp dport {PLAIN_PORT} dnat to {SITE["b"]}
    }}
}}
insert rule inet nat forward iifname "wan" tcp dport {PLAIN_PORT} accept
"""
CUT = """
table ip cut {{
    chain drops {{
        type filter hook prerouting priority raw
        {drops}
    }}
}}
"""
DROPS = {  # at NAT-A: what leaves a link this path
    RELAY_UDP: f"ip daddr {NAT['b']} meta l4proto udp drop\n        ip saddr {NAT['b']} meta l4proto udp drop",
    RELAY_WS: "meta l4proto udp drop",
}
Values = list[float]


def bench() -> Iterator[Figure]:
    """The figures; root only, since loopback has no two places."""
    if not possible():
        raise FailedError("this benchmark needs network namespaces: run it as root")
    with ExitStack() as stack:
        ground = Ground(stack)
        yield from ground.first_bytes()
        path = ground.path(DIRECT)
        if path != DIRECT:
            raise FailedError(f"no direct path within {DIRECT_S:.0f} s: {path}")
        yield from ground.direct()
        yield from ground.many_services()
        yield from ground.local()
        yield from ground.cut()
        for path in (RELAY_UDP, RELAY_WS):
            with ground.without_better_than(path):
                if ground.path(path) == path:
                    yield from ground.relayed(path)
    yield from dns.bench()


def behind_nats(stack: ExitStack, prefix: str) -> tuple[Lab, Fleet]:
    """Two gateways, each behind a NAT, and a relay, none of which runs yet; their folder's name begins with `prefix`."""
    folder = stack.enter_context(temporary(prefix))
    processes.adopt_orphans()  # a pod outlives its daemon, but not us
    stack.callback(processes.end, processes.descendants)
    lab = stack.enter_context(Lab())
    for node in NODES:
        lab.set_resolver(PLACES[node], MESH_DNS)
    fleet = stack.enter_context(Fleet(folder, Path(sys.executable).parent, Namespaces(lab)))
    fleet.make({node: {"driver": "process"} for node in NODES})
    return lab, fleet


class Ground:
    """The fleet, and what is measured on it."""

    def __init__(self, stack: ExitStack) -> None:
        self._lab, self._fleet = behind_nats(stack, "edged-calls")
        self._lab.run("nat-b", ["nft", "-f", "-"], text=PLAIN)
        self._lab.run("a", ["sysctl", "-qw", REUSE_PORTS])
        self._fleet.start("plain", [sys.executable, PEER, "serve", SITE["b"], str(PLAIN_PORT)], where="gw-b")
        self._fleet.start_relay()
        self._fleet.start_node("gw-b")
        self._kube = self._fleet.start_node("gw-a")
        self._fleet.wait("both nodes to know each other", lambda: all_ready(self._kube), WAIT_S)
        self._pods, self._services = {}, {}
        for name, node in (("bench", "gw-b"), ("near", "gw-a")):
            self._kube.create(pod(name, node))
            self._kube.create(service(name, name))
            self._pods[name] = self._fleet.wait(f"pod {name}", partial(ready, self._kube, name), WAIT_S)
            self._services[name] = address(self._kube, name)
        self._fleet.wait("the service", lambda: self._named("connect", 0.1, 1), WAIT_S)

    # ---- what is asked

    def _ask(self, command: str, host: str, port: int, *options: object) -> dict[str, Any]:
        """What peer.py at gw-a says."""
        answer: dict[str, Any] = json.loads(
            self._fleet.run("gw-a", [sys.executable, PEER, command, host, str(port), *map(str, options)])
        )
        return answer

    def _named(self, command: str, *options: object) -> dict[str, Any]:
        return self._ask(command, self._services["bench"], PORT, *options)

    def _plain(self, command: str, *options: object) -> dict[str, Any]:
        return self._ask(command, NAT["b"], PLAIN_PORT, *options)

    def _stream(self, host: str, port: int, size: int = STREAM) -> float:
        """MB/s."""
        return size / 1e6 / float(self._ask("stream", host, port, size)["seconds"])

    def path(self, wanted: str) -> str:
        """The path of gw-a's link to gw-b, once it is `wanted` or DIRECT_S are over."""
        until = time.monotonic() + DIRECT_S
        while (path := self._path()) != wanted and time.monotonic() < until:
            time.sleep(LOOK_S)
        return path

    def _path(self) -> str:
        peers = self._fleet.local("gw-a").get(TARGET)["peers"]
        return next((str(peer["path"]) for peer in peers if peer["node"] == "gw-b"), "none")

    @contextmanager
    def without_better_than(self, path: str) -> Iterator[None]:
        """Inside no datagram passes NAT-A that would make a better path than this one."""
        self._lab.run("nat-a", ["nft", "-f", "-"], text=CUT.format(drops=DROPS[path]))
        try:
            yield
        finally:
            self._lab.run("nat-a", ["nft", "delete", "table", "ip", "cut"])

    # ---- the figures

    def first_bytes(self) -> Iterator[Figure]:
        """gw-a starts, and knows no way to gw-b: from the relay taking it to the first byte of a call, and to a direct path."""
        firsts: Values = []
        directs: Values = []
        for _ in range(ROUNDS):
            self._fleet.stop("gw-a")
            (self._fleet.folder / "gw-a" / FILE).unlink(missing_ok=True)
            begun = self._fleet.lines["gw-a"].stat().st_size
            self._fleet.start("gw-a", self._fleet.daemon("gw-a"))
            with ThreadPoolExecutor(max_workers=1) as thread:
                called = thread.submit(self._named, "first", WAIT_S)
                self._fleet.wait("a direct path", lambda: self._path() == DIRECT, DIRECT_S, alive="gw-a", every=LOOK_S)
                direct = time.time()
                taken = taken_at(self._fleet.lines["gw-a"], begun)
                firsts.append(float(called.result()["at"]) - taken)
                directs.append(direct - taken)
        yield figure("first_byte_s", "s", firsts)
        yield figure("direct_s", "s", directs)

    def direct(self) -> Iterator[Figure]:
        """A stream, round trips and new connections."""
        found: dict[str, Values] = {}
        for _ in range(ROUNDS):
            for name, value in self._round().items():
                found.setdefault(name, []).append(value)
        yield figure("stream_direct_mb_s", "MB/s", found["stream"], found["plain stream"])
        yield figure("stream_direct_cpu_ms_per_mb", "ms/MB", found["cpu"])
        yield figure("rss_load_mb", "MB", found["rss"])
        yield figure("rtt_direct_added_p50_us", "us", found["added"])
        yield figure("rtt_direct_p99_us", "us", found["p99"], found["plain p99"])
        yield figure("connects_per_s", "/s", found["connects"], found["plain connects"])
        yield figure(f"connects_{MANY}_per_s", "/s", found["many connects"], found["plain many connects"])

    def _round(self) -> dict[str, float]:
        found = {"plain stream": self._stream(NAT["b"], PLAIN_PORT)}
        daemons = [self._fleet.pid(node) for node in NODES]
        for pid in daemons:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak of memory is now (proc(5))
        before = sum(map(cpu_s, daemons))
        found["stream"] = self._stream(self._services["bench"], PORT)
        found["cpu"] = (sum(map(cpu_s, daemons)) - before) * 1000 / (STREAM / 1e6)
        found["rss"] = max(map(peak_mb, daemons))
        plain, named = self._plain("echo", REQUESTS)["us"], self._named("echo", REQUESTS)["us"]
        found["added"] = part(named, 0.5) - part(plain, 0.5)
        found["p99"], found["plain p99"] = part(named, 0.99), part(plain, 0.99)
        for name, at_a_time in (("connects", 1), ("many connects", MANY)):
            found["plain " + name] = float(self._plain("connect", CONNECT_S, at_a_time)["per_s"])
            found[name] = float(self._named("connect", CONNECT_S, at_a_time)["per_s"])
        return found

    def many_services(self) -> Iterator[Figure]:
        """The stream again, with SERVICES services there."""
        one = [self._stream(self._services["bench"], PORT) for _ in range(FEWER)]
        for number in range(SERVICES - len(self._services)):
            self._kube.create(service(f"other-{number}", "bench"))
        last = address(self._kube, f"other-{number}")
        self._fleet.wait("the last service", lambda: self._ask("connect", last, PORT, 0.1, 1), WAIT_S)
        time.sleep(SETTLE_S)
        many = [self._stream(self._services["bench"], PORT) for _ in range(FEWER)]
        yield figure("stream_300_services_mb_s", "MB/s", many, one)

    def local(self) -> Iterator[Figure]:
        """A pod on the client's own node: its service's address against its own."""
        places = {"named": self._services["near"], "straight": self._pods["near"]}
        rates: dict[str, Values] = {place: [] for place in places}
        for number in range(2 * ROUNDS):
            for place in sorted(places, reverse=bool(number % 2)):  # who comes second finds the caches warm
                rates[place].append(self._stream(places[place], PORT, NEAR))
        yield figure("local_ratio", "x", [named / straight for named, straight in zip(*rates.values(), strict=True)])

    def cut(self) -> Iterator[Figure]:
        """A download whose direct path is cut: its longest silence, and how long after the cut is lifted it is direct again."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            download = thread.submit(self._named, "stream", DOWNLOAD)
            time.sleep(CUT_AFTER_S)
            with self.without_better_than(RELAY_UDP):
                cut = time.monotonic()
                time.sleep(CUT_S)
            lifted = time.monotonic()
            path = self.path(DIRECT)
            back = time.monotonic() - lifted
            arrived = download.result()
        if arrived["ended"] < cut:
            raise FailedError(f"{DOWNLOAD} bytes had arrived before their path was cut")
        yield Figure("mesh", "cut_gap_s", arrived["gap"], "s", note=f"of a download of {DOWNLOAD / 1e9:g} GB")
        yield Figure("mesh", "back_direct_s", back if path == DIRECT else math.inf, "s")

    def relayed(self, path: str) -> Iterator[Figure]:
        """The stream by the relay."""
        pids = [self._fleet.pid(name) for name in (*NODES, "relay")]
        rates, plain, cpu = [], [], []
        for _ in range(FEWER):
            plain.append(self._stream(NAT["b"], PLAIN_PORT))
            before = sum(map(cpu_s, pids))
            rates.append(self._stream(self._services["bench"], PORT))
            cpu.append((sum(map(cpu_s, pids)) - before) * 1000 / (STREAM / 1e6))
        name = path.replace("-", "_")
        yield figure(f"stream_{name}_mb_s", "MB/s", rates, plain)
        yield figure(f"stream_{name}_cpu_ms_per_mb", "ms/MB", cpu)


def figure(name: str, unit: str, values: Values, against: Values | None = None) -> Figure:
    """The median of `values`, and how far they lie apart."""
    beside = statistics.median(against) if against else None
    spread = f"{min(values):.4g} to {max(values):.4g} of {len(values)}"
    return Figure("mesh", name, statistics.median(values), unit, beside, spread)


def part(ascending: Values, share: float) -> float:
    """The value below which `share` of them lie."""
    return ascending[int(len(ascending) * share)]


def cpu_s(pid: int) -> float:
    """Seconds that the threads of a process have run; /proc/PID/stat counts in steps of 10 ms."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def peak_mb(pid: int) -> float:
    """The most memory since clear_refs."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:"))


def taken_at(log: Path, begun: int) -> float:
    """When the relay took the node whose log is at `begun` now, in seconds since 1970."""
    for line in log.read_bytes()[begun:].splitlines():
        record = json.loads(line)
        if record["message"].endswith("takes us") or " takes us, " in record["message"]:
            return datetime.fromisoformat(record["time"]).timestamp()
    raise FailedError("the relay did not take gw-a")


def pod(name: str, node: str) -> dict[str, Any]:
    """A pod that answers peer.py."""
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    command = [sys.executable, str(PEER), "serve", "$(POD_IP)", str(PORT)]
    container = {"name": "main", "image": "host", "command": command, "env": [address]}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def service(name: str, app: str) -> dict[str, Any]:
    """A service of its pod."""
    spec = {"selector": {"app": app}, "ports": [{"port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ready(kube: Kube, name: str) -> str:
    """The address of a pod, "" as long as it is not ready."""
    found = kube.get(f"/api/v1/namespaces/default/pods/{name}")
    return str(found["status"]["podIP"]) if is_ready(found) else ""


def address(kube: Kube, name: str) -> str:
    """The address of a service."""
    return str(kube.get(f"/api/v1/namespaces/default/services/{name}")["spec"]["clusterIP"])
