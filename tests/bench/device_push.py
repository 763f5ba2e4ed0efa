"""`device_push`: what readings an outage of the broker costs, and what holding 20,000 messages does. A part of `device`.

A node polls UNITS Modbus units RATE times a second, each answer one more than the last, so that what was polled is known; a
mosquitto is their target, and a subscriber with a session that the broker keeps hears what arrives.
"""

import datetime
import json
import os
import shutil
import signal
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from build.fleet import FailedError, environment, free_ports, temporary
from build.kube import local
from edged.identity.authority import Authority
from edged.identity.bundle import join
from tests.bench.figures import Figure

ROOT = Path(__file__).parents[2]
UNITS, CYCLE_MS = 20, 500
OUTAGE_S, STEADY_S, PATIENCE_S = 30.0, 5.0, 60.0
KILLED_S = 1.0  # before a kill: what was polled then may be lost
WAYS = ("stopped", "stopped_killed", "hung", "hung_killed")
MESSAGES, MESSAGE_BYTES, PER_S = 20_000, 1000, 1000
NAME = "127.0.0.1"
QUIET_S = 3.0  # nothing more arrives


class Counters:
    """A Modbus server: two holding registers of each unit count how often they were read."""

    def __init__(self) -> None:
        self.served: dict[tuple[int, int], float] = {}  # (unit, count) -> when, in seconds since 1970
        self.open: set[object] = set()  # connections
        self._counts: dict[int, int] = {}
        counters = self

        class Talk(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                counters.open.add(self)
                with suppress(ConnectionResetError):  # of a node that was killed
                    self._talk()
                counters.open.discard(self)

            def _talk(self) -> None:
                while len(request := self.request.recv(12)) == 12:
                    transaction, _, _, unit, _, _, _ = struct.unpack(">HHHBBHH", request)
                    self.request.sendall(struct.pack(">HHHBBBI", transaction, 0, 7, unit, 3, 4, counters.next(unit)))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address, block_on_close = True, True, False

        self._server = Server((NAME, 0), Talk)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self, unit: int) -> int:
        count = self._counts[unit] = self._counts.get(unit, 0) + 1
        self.served[unit, count] = time.time()
        return count

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Broker:
    """A mosquitto that keeps the session `bench`, whatever becomes of it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {port} {NAME}\nallow_anonymous true\npersistence true\npersistence_location {folder}/\nuser root\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["mosquitto", "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(PATIENCE_S)


class Arrived(NamedTuple):
    """When a reading arrived, and what time it bears."""

    at: float
    timestamp: float


class Subscriber:
    """Hears everything; counts a repeat once."""

    def __init__(self, port: int) -> None:
        self.arrived: dict[tuple[int, int], Arrived] = {}
        self.messages = self.repeats = 0
        self._port, self._over = port, False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        client = Client(CallbackAPIVersion.VERSION2, "bench", clean_session=False)
        client.on_connect = lambda *_: client.subscribe("bench", 1)
        client.on_message = lambda _c, _u, message: self._hear(message.payload)
        while not self._over:
            try:
                client.connect(NAME, self._port)
                while client.loop(0.1) == 0 and not self._over:
                    pass
            except OSError:
                time.sleep(0.05)
        client.disconnect()

    def _hear(self, payload: bytes) -> None:
        now, document = time.time(), json.loads(payload)
        self.messages += 1
        for each in document["readings"]:
            name = (int(document["device"].removeprefix("unit-")), int(each["value"].partition(" ")[0]))
            self.repeats += name in self.arrived
            self.arrived.setdefault(name, Arrived(now, each["timestamp"] / 1000))

    def settle(self, wanted: AbstractSet[tuple[int, int]]) -> None:
        """Wait until these have arrived, or no more of them do."""
        count, since = -1, time.monotonic()
        while count < len(wanted) and time.monotonic() < since + QUIET_S:
            now = len(wanted & self.arrived.keys())
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.05)

    def close(self) -> None:
        self._over = True
        self._thread.join(PATIENCE_S)


class Node:
    """A daemon that serves devices, and nothing else."""

    def __init__(self, folder: Path) -> None:
        state = folder / "state"
        now = datetime.datetime.now(datetime.UTC)
        join(Authority.create(folder / "authority", "bench", now).issue("gw-a", "site", [], now), state)
        hub, api = free_ports(2)
        self._config = folder / "edged.toml"
        self._config.write_text(
            f'node.state_dir = "{state}"\nhub.listen = "{NAME}:{hub}"\nhub.discovery = false\napi.listen = "{NAME}:{api}"\n'
            'mesh.enabled = false\nruntime.driver = "process"\nbus.mqtt = ""\n'
        )
        self.log = (folder / "edged.log").open("wb")
        self.kube = local(state / "api.sock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "edged", "run", "--config", str(self._config)]
        files = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        self.process = subprocess.Popen(argv, cwd=ROOT, env=environment(), **files)

    def ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                self.kube.get("/readyz")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise FailedError("the node is not ready")

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.log.close()


def bench() -> Iterator[Figure]:
    """The four outages, then the messages that are held."""
    for way in WAYS:
        yield from outage(way)
    yield from offline()


def manifests(modbus: int, mqtt: int) -> Iterator[dict[str, Any]]:
    """A model, and a device a unit."""
    api = {"apiVersion": "devices.kubeedge.io/v1beta1"}
    count = {"name": "count", "type": "INT", "accessMode": "ReadOnly"}
    yield {**api, "kind": "DeviceModel", "metadata": {"name": "counter"}, "spec": {"properties": [count]}}
    for unit in range(1, UNITS + 1):
        config = {"register": "HoldingRegister", "offset": 0, "limit": 2}
        each = {
            "name": "count",
            "collectCycle": CYCLE_MS,
            "visitors": {"protocolName": "modbus-tcp", "configData": config},
            "pushMethod": {"mqtt": {"address": f"tcp://{NAME}:{mqtt}", "topic": "bench"}},
        }
        address = {"ip": NAME, "port": modbus, "slaveID": unit}
        spec = {
            "deviceModelRef": {"name": "counter"},
            "nodeName": "gw-a",
            "protocol": {"protocolName": "modbus-tcp", "configData": address},
            "properties": [each],
        }
        yield {**api, "kind": "Device", "metadata": {"name": f"unit-{unit}"}, "spec": spec}


def outage(way: str) -> Iterator[Figure]:
    """One outage: OUTAGE_S without a broker, in the middle of which the node may be killed."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary("edged-bench-"))
        (port,) = free_ports(1)
        broker, counters, node = Broker(folder, port), stack.enter_context(closing(Counters())), Node(folder)
        stack.callback(node.close)
        broker.start()
        stack.callback(lambda: broker.end(signal.SIGKILL))
        subscriber = stack.enter_context(closing(Subscriber(port)))
        node.start()
        node.ready()
        for manifest in manifests(counters.port, port):
            node.kube.create(manifest)
        _until("the first readings", lambda: len({unit for unit, _ in subscriber.arrived}) == UNITS)
        keep_session(folder, broker)
        time.sleep(STEADY_S)
        killed = fail(way, broker, node)
        broker.start()
        back = time.time()
        node.ready()
        subscriber.settle({name for name, at in counters.served.copy().items() if at < back})
        yield from judged(way, counters, subscriber, killed, back)


def keep_session(folder: Path, broker: Broker) -> None:
    """Have the broker write down the session now; a killed one begins with it again."""
    broker.signal(signal.SIGUSR1)
    _until("the broker's file", (folder / "mosquitto.db").exists)
    time.sleep(0.5)
    shutil.copy(folder / "mosquitto.db", folder / "kept.db")


def fail(way: str, broker: Broker, node: Node) -> float | None:
    """The outage; when the node was killed."""
    if way.startswith("hung"):
        broker.signal(signal.SIGSTOP)
    else:
        broker.end(signal.SIGTERM)
    killed = None
    time.sleep(OUTAGE_S / 2)
    if way.endswith("killed"):
        node.end(signal.SIGKILL)
        killed = time.time()
        node.start()
    time.sleep(OUTAGE_S / 2)
    if way.startswith("hung"):
        broker.end(signal.SIGKILL)
        shutil.copy(broker.folder / "kept.db", broker.folder / "mosquitto.db")
    return killed


def judged(way: str, counters: Counters, subscriber: Subscriber, killed: float | None, back: float) -> Iterator[Figure]:
    """What of that which was polled until the broker came back arrived, and when."""
    polled = {name: at for name, at in counters.served.copy().items() if at < back}
    missing = [at for name, at in polled.items() if name not in subscriber.arrived]
    excused = [at for at in missing if killed is not None and killed - KILLED_S <= at <= killed]
    note = f"of {len(polled)} polled; {subscriber.repeats} repeats"
    yield Figure("device", f"outage_lost_{way}", len(missing) - len(excused), "readings", note=f"target 0; {note}")
    if killed is not None:
        yield Figure(
            "device", f"outage_last_second_{way}", len(excused), "readings", note="polled in the second before the kill"
        )
        gaps = [gap for unit in range(1, UNITS + 1) for gap in gaps_of(unit, counters, killed)]
        yield Figure("device", f"poll_gap_{way}_s", max(gaps), "s", note="target 1.5")
    arrived = {name: each for name, each in subscriber.arrived.copy().items() if name in polled}
    late = [each.at - back for each in arrived.values()]
    yield Figure("device", f"drained_{way}_s", max(0.0, *late), "s", note="target 5")
    off = [abs(each.timestamp - counters.served[name]) * 1000 for name, each in arrived.items()]
    yield Figure("device", f"times_off_{way}_ms", max(off), "ms", note="from when it was read to the time it bears")


def gaps_of(unit: int, counters: Counters, killed: float) -> Iterator[float]:
    """The gaps between polls of a unit from a little before a kill on."""
    times = sorted(at for (of, _), at in counters.served.copy().items() if of == unit and at > killed - STEADY_S)
    yield from (after - before for before, after in pairwise(times))


HOLDER = """
import sys, time, trio
from pathlib import Path
from random import Random
from edged.device.history.journal import Journal
from edged.device.history.ring import Limits
from edged.device.push.methods import sender
from edged.device.push.parcels import Credentials, Route, Target
from edged.device.push.way import Way
from edged.device.readings import Reading
from edged.kit.executor import Worker
from edged.kit.log import Log

async def tell(reason, message): print(reason, message, file=sys.stderr)

async def main(path, port, first, count, size, per_s):
    journal = Journal(Path(path), Limits(64 << 20, 7 * 86400), "drop-oldest", time.time, Log(), tell, Worker(), Worker())
    target = Target("mqtt", f"tcp://127.0.0.1:{port}")
    open_ = lambda: sender(target, Credentials(), "gw-a")
    routes = {("default", "unit-1", "count"): Route("bench")}
    random = Random(1)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        way = Way(target, routes, journal, open_, Random(1), Log(), lambda: None, lambda parcel, why: None)
        journal.keep_ways([str(target)])
        nursery.start_soon(way.run)
        await trio.sleep(1)
        print("ready", flush=True)
        for number in range(first, first + count):
            value = f"{number} {random.randbytes(size // 2).hex()}"
            journal.append("default", "unit-1", [Reading("count", "string", value, int(time.time() * 1000))])
            await trio.sleep(0 if number % 20 else 20 / per_s)
        await trio.sleep(1.5)
        print("held", flush=True)
        while journal.queued(str(target)):
            await trio.sleep(0.1)
        print("sent", flush=True)
        await trio.sleep_forever()

trio.run(main, sys.argv[1], *map(int, sys.argv[2:]))
"""


def offline() -> Iterator[Figure]:
    """MESSAGES of MESSAGE_BYTES while there is no broker, then kill -9, and all is delivered after a restart."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary("edged-bench-"))
        (port,) = free_ports(1)
        journal = folder / "readings.db"
        with holder(journal, port, 0, MESSAGES) as process:
            _line(process, "ready")
            before = rss_mb(process.pid)
            _line(process, "held")
            held = rss_mb(process.pid) - before
            process.kill()
        broker = Broker(folder, port)
        broker.start()
        stack.callback(lambda: broker.end(signal.SIGKILL))
        subscriber = stack.enter_context(closing(Subscriber(port)))
        _until("the subscriber", lambda: _asked(subscriber, port))
        began = time.monotonic()
        with holder(journal, port, MESSAGES, 1) as process:
            _line(process, "sent")
            seconds = time.monotonic() - began
            subscriber.settle({(1, number) for number in range(MESSAGES)})
            process.kill()
        lost = MESSAGES - len({number for _, number in subscriber.arrived} & set(range(MESSAGES)))
        note = f"target 10; the file has {journal.stat().st_size / 1e6:.1f} MB"
        yield Figure("device", "offline_rss_mb", held, "MB", note=note)
        yield Figure("device", "offline_lost", lost, "messages", note=f"target 0; of {MESSAGES}, sent in {seconds:.1f} s")


def holder(journal: Path, port: int, first: int, count: int) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", HOLDER, str(journal), *map(str, (port, first, count, MESSAGE_BYTES, PER_S))]
    return subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _asked(subscriber: Subscriber, port: int) -> bool:
    """Whether the subscriber hears; said with a reading of its own."""
    document = {"device": "unit-0", "readings": [{"value": "0", "timestamp": 0}]}
    argv = ["mosquitto_pub", "-p", str(port), "-t", "bench", "-q", "1", "-m", json.dumps(document)]
    subprocess.run(argv, check=False, stderr=subprocess.DEVNULL)
    return (0, 0) in subscriber.arrived


def _line(process: "subprocess.Popen[str]", wanted: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == wanted:
            return
    raise FailedError(f"the process ended before it said {wanted!r}")


def rss_mb(pid: int) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _until(what: str, look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        if time.monotonic() > deadline:
            raise FailedError(f"waited {PATIENCE_S:g} s for {what}")
        time.sleep(0.05)
