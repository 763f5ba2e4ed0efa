"""From the pushMethods of Devices to targets and routes, and every mistake with the path of its field (pure)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from edged.device.push.parcels import TIMEOUT_S, Credentials, Route, Target
from edged.errors import DeniedError
from edged.kit.address import Address, parse_address
from edged.kit.broker import parse_broker
from edged.model.devices import Device
from edged.model.push import (
    MysqlClient,
    PushHttp,
    PushInflux,
    PushMethod,
    PushMqtt,
    PushOtel,
    RedisClient,
    TdengineClient,
)

MAX_TIMEOUT_S = 300  # of a pushMethod: a target that takes longer is away
MAX_TOPIC = 65535  # bytes (MQTT 3.1.1, section 4.7.3)
WEB_PORTS = {"http": 80, "https": 443}
NEEDS = {"influxdb2": ("TOKEN",), "mysql": ("PASSWORD",), "TDEngine": ("USERNAME", "PASSWORD")}
MAY_HAVE = {"redis": ("PASSWORD",)}  # from the environment, as KubeEdge's mappers; a Secret may have all, for any method

Property = tuple[str, str, str]  # namespace, device, property
Found = tuple[Target, Route]


class Plan(NamedTuple):
    """All targets by name with the routes of each, and per device (namespace, name) what is wrong with its pushMethods.

    `pushing` are the devices that have any pushMethod. Routes that are equal are one object.
    """

    targets: dict[str, Target]
    routes: dict[str, dict[Property, Route]]
    problems: dict[tuple[str, str], list[str]]
    pushing: set[tuple[str, str]]


def plan(devices: Iterable[Device]) -> Plan:
    """Where the readings of these devices go."""
    made = Plan({}, {}, {}, set())
    same: dict[Route, Route] = {}
    for device in devices:
        namespace, name = device.metadata.namespace, device.metadata.name
        for index, each in enumerate(device.spec.properties):
            secret = f"{namespace}/{each.push_method.secret_name}" if each.push_method.secret_name else ""
            for path, find in _methods(each.push_method, name, each.name):
                made.pushing.add((namespace, name))
                try:
                    target, route = find()
                except ValueError as error:
                    where = f"spec.properties[{index}].pushMethod.{path}"
                    made.problems.setdefault((namespace, name), []).append(f"{where}{error}")
                    continue
                target = target._replace(secret=secret)
                made.targets[str(target)] = target
                made.routes.setdefault(str(target), {})[namespace, name, each.name] = same.setdefault(route, route)
    return made


def credentials(target: Target, secret: Mapping[str, str] | None, environ: Mapping[str, str]) -> Credentials:
    """As whom to speak to a target. `secret` is what its Secret holds, None: there is no such Secret.

    DeniedError says what is missing and where it is looked for.
    """
    if target.secret and secret is None:
        raise DeniedError(f"there is no Secret {target.secret}")
    needs = NEEDS.get(target.method, ())
    names = (*needs, *MAY_HAVE.get(target.method, ()))
    found = dict(secret) if secret is not None else {name: environ[name] for name in names if environ.get(name)}
    where = f"in the Secret {target.secret}" if target.secret else "in the environment of edged; or name a Secret in secretName"
    if lacks := [name for name in needs if not found.get(name)]:
        raise DeniedError(f"no {' and no '.join(lacks)} {where}")
    return Credentials(found.get("TOKEN", ""), found.get("USERNAME", ""), found.get("PASSWORD", ""), found.get("ca.crt", ""))


def _methods(push: PushMethod, device: str, name: str) -> Iterator[tuple[str, Callable[[], Found]]]:
    """(path below pushMethod, what finds the target: ValueError with the rest of the path and what is wrong)."""
    if push.http is not None:
        yield "http", partial(_http, push.http)
    if push.mqtt is not None:
        yield "mqtt", partial(_mqtt, push.mqtt)
    if push.otel is not None:
        yield "otel", partial(_otel, push.otel)
    if (db := push.db_method) is None:
        return
    if db.influxdb2 is not None:
        yield "dbMethod.influxdb2", partial(_influxdb2, db.influxdb2, device, name)
    if db.redis is not None:
        yield "dbMethod.redis", partial(_redis, db.redis.client)
    if db.tdengine is not None:
        yield "dbMethod.TDEngine", partial(_tdengine, db.tdengine.client)
    if db.mysql is not None:
        yield "dbMethod.mysql", partial(_mysql, db.mysql.client)


def _http(push: PushHttp) -> Found:
    if not 0 <= push.timeout <= MAX_TIMEOUT_S:
        raise ValueError(f".timeout: expected seconds up to {MAX_TIMEOUT_S}, got {push.timeout}")
    if not 0 <= push.port <= 65535:
        raise ValueError(f".port: expected a port, got {push.port}")
    if not push.request_path.startswith("/") or not push.request_path.isprintable() or " " in push.request_path:
        raise ValueError(f".requestPath: expected a path that begins with /, got {push.request_path!r}")
    url = push.host_name if "://" in push.host_name else f"http://{push.host_name}"
    base = _web(".hostName", f"{url}:{push.port}" if push.port else url)
    return Target("http", base, timeout_s=push.timeout or TIMEOUT_S), Route(push.request_path)


def _mqtt(push: PushMqtt) -> Found:
    try:
        broker, secure = parse_broker(push.address)
    except ValueError as error:
        raise ValueError(f".address: {error}") from error
    if not 0 < len(push.topic.encode()) <= MAX_TOPIC or set(push.topic) & {"+", "#", "\0"}:
        raise ValueError(f".topic: expected the name of a topic, without wildcards, got {push.topic[:100]!r}")
    if push.qos not in (0, 1, 2):
        raise ValueError(f".qos: expected 0, 1 or 2, got {push.qos}")
    return Target("mqtt", f"{'ssl' if secure else 'tcp'}://{broker}"), Route(push.topic, retained=push.retained)


def _otel(push: PushOtel) -> Found:
    return Target("otel", _web(".endpointURL", push.endpoint_url, "/v1/metrics")), Route()


def _influxdb2(push: PushInflux, device: str, name: str) -> Found:
    client, data = push.client, push.data
    where = _web(".influxdb2ClientConfig.url", client.url)
    names = (_given(".influxdb2ClientConfig.org", client.org), _given(".influxdb2ClientConfig.bucket", client.bucket))
    route = Route(data.measurement or device, data.field_key or name, tuple(sorted(data.tag.items())))
    return Target("influxdb2", where, names), route


def _redis(client: RedisClient) -> Found:
    return Target("redis", _address(".redisClientConfig.addr", client.addr, 6379), (str(client.db),)), Route()


def _tdengine(client: TdengineClient) -> Found:
    where = _address(".TDEngineClientConfig.addr", client.addr, 6041)
    return Target("TDEngine", where, (_given(".TDEngineClientConfig.dbName", client.db_name),)), Route()


def _mysql(client: MysqlClient) -> Found:
    where = _address(".mysqlClientConfig.addr", client.addr, 3306)
    names = (_given(".mysqlClientConfig.database", client.database), _given(".mysqlClientConfig.userName", client.user_name))
    return Target("mysql", where, names), Route()


def _web(path: str, text: str, default_path: str = "") -> str:
    """A URL as it is asked; ValueError when it is none. What is secret has no place in it."""
    try:
        url = urlsplit(text)
        port = url.port or WEB_PORTS.get(url.scheme, 0)
    except ValueError as error:
        raise ValueError(f"{path}: expected http://host[:port][/path], got {text!r}") from error
    if url.scheme not in WEB_PORTS or not url.hostname or not text.isprintable() or " " in text:
        raise ValueError(f"{path}: expected http://host[:port][/path], got {text!r}")
    if url.username is not None or url.password is not None:
        raise ValueError(f"{path}: a user and password belong into a Secret, named in pushMethod.secretName")
    return f"{url.scheme}://{_address(path, str(Address(url.hostname, port)), port)}{url.path.rstrip('/') or default_path}"


def _address(path: str, text: str, port: int) -> str:
    whole = text if ":" in text.rpartition("]")[2] else f"{text}:{port}"
    try:
        found = parse_address(whole)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not found.port:
        raise ValueError(f"{path}: expected a port from 1 to 65535, got {text!r}")
    return str(found)


def _given(path: str, text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(f"{path}: {'is missing' if not text else f'expected printable text, got {text!r}'}")
    return text
