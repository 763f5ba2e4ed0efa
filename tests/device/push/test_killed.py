"""`kill -9` of the gateway while it pushes, every way but MQTT at once (that is the bench's, `outage_lost_hung_killed`).

A Modbus register counts how often it was read, so what was polled is known. Of that each target has everything, but what
was polled last before a kill; and what comes again is the same, with the same id or time, so that it changes nothing.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, NamedTuple

import pymysql
import pytest
import redis

from tests.bench.device_push import Counters, Node
from tests.device.push.conftest import Server

KILLS = 4
STEP = 25  # more readings that every target has before the next kill
CYCLE_MS = 20
SLOW_S = 0.1  # a web server takes to answer
LAST_S = 3.0  # what was polled before a kill may be lost: a second, and what a busy machine takes to write it down
PATIENCE_S = 60.0
PASSWORD = "sesame"  # noqa: S105  of the tests' own servers
DEVICE = "unit-1"


class Said(NamedTuple):
    """A reading that arrived: what makes a repeat of it known, and its count."""

    id: Any
    count: int


class Web:
    """A web server for all that goes by HTTP; what it answers 200 it has."""

    def __init__(self) -> None:
        self.said: dict[str, list[Said]] = {"http": [], "otel": [], "influxdb2": [], "TDEngine": []}
        said = self.said

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                place = self.path.partition("?")[0]
                name = {"/v1/metrics": "otel", "/api/v2/write": "influxdb2", "/rest/sql/plant": "TDEngine"}.get(place, "http")
                found = list(READ[name](body))
                answer = b'{"code":0}' if name == "TDEngine" else b""
                said[name] += found
                time.sleep(SLOW_S)  # a gateway that is killed now does not know that the target has them
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

            def handle(self) -> None:
                with suppress(ConnectionResetError, BrokenPipeError):  # of a gateway that was killed
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def of_http(body: str) -> Iterator[Said]:
    for document in json.loads(body):
        for reading in document["readings"]:
            yield Said((document["node"], document["id"]), int(reading["value"]))


def of_otel(body: str) -> Iterator[Said]:
    for resource in json.loads(body)["resourceMetrics"]:
        for metric in resource["scopeMetrics"][0]["metrics"]:
            for point in metric["gauge"]["dataPoints"]:
                yield Said(point["timeUnixNano"], int(point["asDouble"]))


def of_influxdb2(body: str) -> Iterator[Said]:
    for line in body.splitlines():
        _, field, time_ = line.split(" ")
        yield Said(time_, int(field.partition("=")[2].removesuffix("i")))


def of_tdengine(body: str) -> Iterator[Said]:
    for row in body.rsplit("VALUES ", maxsplit=1)[-1].strip("()").split(")(") if body.startswith("INSERT") else ():
        time_, _, _, value, _ = row.split(",")
        yield Said(time_, int(value.strip("'")))


READ = {"http": of_http, "otel": of_otel, "influxdb2": of_influxdb2, "TDEngine": of_tdengine}


class Targets:
    """Every target, and what it has."""

    def __init__(self, web: Web, redis_port: int, mariadb_port: int) -> None:
        self._web = web
        self._redis = redis.Redis(port=redis_port, password=PASSWORD, db=5)
        self._redis.flushdb()
        self._redis.acl_setuser("root", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"])
        settings: dict[str, Any] = {"host": "127.0.0.1", "port": mariadb_port, "user": "root", "database": "plant"}
        self._mysql = pymysql.connect(**settings, password=PASSWORD, autocommit=True, read_timeout=20)
        with self._mysql.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS `default/{DEVICE}/count`")
        self.ports = {"redis": redis_port, "mysql": mariadb_port}

    def methods(self) -> dict[str, Any]:
        """The pushMethod of the property."""
        url = f"http://127.0.0.1:{self._web.port}"
        mysql = {"addr": f"127.0.0.1:{self.ports['mysql']}", "database": "plant", "userName": "root"}
        influxdb2 = {"url": url, "org": "plant", "bucket": "meters"}
        return {
            "secretName": "targets",
            "http": {"hostName": "http://127.0.0.1", "port": self._web.port, "requestPath": "/in"},
            "otel": {"endpointURL": url},
            "dbMethod": {
                "influxdb2": {"influxdb2ClientConfig": influxdb2, "influxdb2DataConfig": {}},
                "redis": {"redisClientConfig": {"addr": f"127.0.0.1:{self.ports['redis']}", "db": 5}},
                "mysql": {"mysqlClientConfig": mysql},
                "TDEngine": {"TDEngineClientConfig": {"addr": f"127.0.0.1:{self._web.port}", "dbName": "plant"}},
            },
        }

    def have(self) -> dict[str, list[Said]]:
        """What each has, in its order; of the databases, which know a repeat by themselves, what is in them."""
        return {**self._web.said, "redis": self._in_redis(), "mysql": self._in_mysql()}

    def _in_redis(self) -> list[Said]:
        members = [json.loads(each) for each in self._redis.zrange(DEVICE, 0, -1)]
        return [Said((each["Node"], each["Id"]), int(each["Value"])) for each in members]

    def _in_mysql(self) -> list[Said]:
        with self._mysql.cursor() as cursor:
            try:
                cursor.execute(f"SELECT node, report, field FROM `default/{DEVICE}/count` ORDER BY id")  # noqa: S608
            except pymysql.err.ProgrammingError:
                return []  # the table comes with the first reading
            return [Said((node, report), int(value)) for node, report, value in cursor.fetchall()]

    def close(self) -> None:
        self._redis.close()
        self._mysql.close()


def manifests(modbus: int, methods: dict[str, Any]) -> Iterator[dict[str, Any]]:
    api = {"apiVersion": "devices.kubeedge.io/v1beta1"}
    secret = {"TOKEN": "sesame", "USERNAME": "root", "PASSWORD": PASSWORD}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "targets"}, "stringData": secret}
    count = {"name": "count", "type": "INT", "accessMode": "ReadOnly"}
    yield {**api, "kind": "DeviceModel", "metadata": {"name": "counter"}, "spec": {"properties": [count]}}
    config = {"register": "HoldingRegister", "offset": 0, "limit": 2}
    visitors = {"protocolName": "modbus-tcp", "configData": config}
    address = {"ip": "127.0.0.1", "port": modbus, "slaveID": 1}
    spec = {
        "deviceModelRef": {"name": "counter"},
        "nodeName": "gw-a",
        "protocol": {"protocolName": "modbus-tcp", "configData": address},
        "properties": [{"name": "count", "collectCycle": CYCLE_MS, "visitors": visitors, "pushMethod": methods}],
    }
    yield {**api, "kind": "Device", "metadata": {"name": DEVICE}, "spec": spec}


@pytest.fixture
def targets(redis_server: Server, mariadb: Server) -> Iterator[Targets]:
    web = Web()
    made = Targets(web, redis_server.port, mariadb.port)
    yield made
    made.close()
    web.close()


@pytest.mark.tool("redis-server")
@pytest.mark.tool("mariadbd")
def test_kill_9_while_it_pushes(tmp_path: Path, targets: Targets) -> None:
    counters, node = Counters(), Node(tmp_path)
    killed: list[float] = []

    def arrived(upto: int) -> None:
        """Wait until every target has this count."""
        deadline = time.monotonic() + PATIENCE_S
        while least := [name for name, said in targets.have().items() if upto > max((each.count for each in said), default=0)]:
            assert time.monotonic() < deadline, (upto, least, (tmp_path / "edged.log").read_text()[-2000:])
            time.sleep(0.05)

    try:
        node.start()
        node.ready()
        for each in manifests(counters.port, targets.methods()):
            node.kube.create(each)
        for _ in range(KILLS):
            arrived(len(counters.served) + STEP)
            node.end(SIGKILL)
            until(lambda: not counters.open)  # what it asked last is served, too
            killed.append(time.time())
            node.start()
        arrived(len(counters.served) + STEP)
        node.end(SIGTERM)
    finally:
        node.close()
        counters.close()
    for name, said in targets.have().items():
        judge(name, said, {count: at for (_, count), at in counters.served.items()}, killed)


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def judge(name: str, said: list[Said], polled: dict[int, float], killed: list[float]) -> None:
    """Each reading once, whatever came again; and none is missing but the last before a kill."""
    of = {each.id: each.count for each in said}
    assert all(of[each.id] == each.count for each in said), f"{name}: an id says two things"
    assert max(Counter(of.values()).values()) == 1, f"{name}: a reading has two ids"
    if name in {"redis", "mysql"}:
        assert len(said) == len(of), f"{name}: a repeat is a member of its own"
    counts = set(of.values())
    missing = set(range(1, max(counts))) - counts
    excused = {count for count in missing if any(at - LAST_S <= polled[count] <= at for at in killed)}
    assert missing <= excused, f"{name}: {sorted(missing - excused)} never arrived"
    for count in missing:  # nothing that was acknowledged is forgotten: what is lost is the end of what was polled by then
        later = {each for each in counts if each > count and polled[each] <= min(at for at in killed if at >= polled[count])}
        assert not later, f"{name}: {count} is missing, but {min(later)} arrived before the kill"
