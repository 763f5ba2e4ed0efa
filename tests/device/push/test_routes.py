"""pushMethods become targets and routes, and mistakes name their field."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import yaml

from edged.device.push.parcels import Credentials, Route, Target
from edged.device.push.routes import Plan, credentials, plan
from edged.errors import DeniedError
from edged.model.devices import Device


def device(*methods: dict[str, Any], name: str = "meter") -> Device:
    properties = [{"name": f"p{number}", "pushMethod": each} for number, each in enumerate(methods)]
    return msgspec.convert(
        {
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "Device",
            "metadata": {"name": name, "namespace": "plant"},
            "spec": {"properties": properties},
        },
        Device,
    )


def db(**methods: Any) -> dict[str, Any]:
    return {"dbMethod": methods}


def influx(**data: Any) -> dict[str, Any]:
    client = {"url": "http://127.0.0.1:8086/", "org": "o", "bucket": "b"}
    return db(influxdb2={"influxdb2ClientConfig": client, "influxdb2DataConfig": data})


REDIS = db(redis={"redisClientConfig": {"addr": "127.0.0.1:6379", "db": 3, "poolsize": 30, "minIdleConns": 30}})
TAOS = db(TDEngine={"TDEngineClientConfig": {"addr": "127.0.0.1", "dbName": "plant"}})
MYSQL = db(mysql={"mysqlClientConfig": {"addr": "localhost:3306", "database": "d", "userName": "u"}})


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        (
            {"http": {"hostName": "http://127.0.0.1", "port": 60606, "requestPath": "/alarm", "timeout": 7}},
            Target("http", "http://127.0.0.1:60606", timeout_s=7),
            Route("/alarm"),
        ),
        ({"http": {"hostName": "receiver.example"}}, Target("http", "http://receiver.example:80"), Route("/")),
        ({"http": {"hostName": "https://[::1]/base"}}, Target("http", "https://[::1]:443/base"), Route("/")),
        (
            {"mqtt": {"address": "tcp://127.0.0.1:1883", "topic": "a/b", "qos": 0, "retained": True}},
            Target("mqtt", "tcp://127.0.0.1:1883"),
            Route("a/b", retained=True),
        ),
        ({"mqtt": {"address": "mqtts://broker", "topic": "t"}}, Target("mqtt", "ssl://broker:8883"), Route("t")),
        ({"mqtt": {"address": "broker:99", "topic": "t"}}, Target("mqtt", "tcp://broker:99"), Route("t")),
        ({"otel": {"endpointURL": "http://c:4318"}}, Target("otel", "http://c:4318/v1/metrics"), Route()),
        ({"otel": {"endpointURL": "https://c/otlp/v1/metrics"}}, Target("otel", "https://c:443/otlp/v1/metrics"), Route()),
        (influx(), Target("influxdb2", "http://127.0.0.1:8086", ("o", "b")), Route("meter", "p0")),
        (
            influx(measurement="m", fieldKey="f", tag={"unit": "x"}),
            Target("influxdb2", "http://127.0.0.1:8086", ("o", "b")),
            Route("m", "f", (("unit", "x"),)),
        ),
        (REDIS, Target("redis", "127.0.0.1:6379", ("3",)), Route()),
        (TAOS, Target("TDEngine", "127.0.0.1:6041", ("plant",)), Route()),
        (MYSQL, Target("mysql", "localhost:3306", ("d", "u")), Route()),
    ],
)
def test_each_method_has_its_target_and_route(method: dict[str, Any], target: Target, route: Route) -> None:
    made = plan([device(method)])
    assert made.problems == {}
    assert made.targets == {str(target): target}
    assert made.routes == {str(target): {("plant", "meter", "p0"): route}}


def test_the_same_target_is_one_whoever_names_it_and_another_secret_is_another() -> None:
    method = {"mqtt": {"address": "tcp://b:1883", "topic": "t"}}
    made = plan([device(method, {**method, "secretName": "s"}), device(method, name="pump")])
    assert {name: len(routes) for name, routes in made.routes.items()} == {
        "mqtt tcp://b:1883": 2,
        "mqtt tcp://b:1883 (Secret plant/s)": 1,
    }


def test_one_property_may_go_several_ways_and_one_without_goes_none() -> None:
    made = plan([device({"mqtt": {"address": "b:1", "topic": "t"}, **MYSQL}), device({}, name="silent")])
    assert len(made.targets) == 2
    assert made.pushing == {("plant", "meter")}


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ({"http": {}}, ".pushMethod.http.hostName: expected http://host[:port][/path], got 'http://'"),
        ({"http": {"hostName": "ftp://x"}}, ".pushMethod.http.hostName: expected http://host[:port][/path], got 'ftp://x'"),
        ({"http": {"hostName": "x", "port": 70000}}, ".pushMethod.http.port: expected a port, got 70000"),
        ({"http": {"hostName": "x", "requestPath": "a b"}}, ".pushMethod.http.requestPath: expected a path that begins with /"),
        ({"http": {"hostName": "x", "requestPath": "/a\r\nHost: y"}}, ".pushMethod.http.requestPath: expected a path"),
        ({"http": {"hostName": "x", "timeout": -1}}, ".pushMethod.http.timeout: expected seconds up to 300, got -1"),
        ({"http": {"hostName": "http://u:p@x"}}, "a user and password belong into a Secret, named in pushMethod.secretName"),
        ({"mqtt": {"address": "", "topic": "t"}}, ".pushMethod.mqtt.address: "),
        ({"mqtt": {"address": "udp://x:1", "topic": "t"}}, ".pushMethod.mqtt.address: expected tcp://host[:port] or ssl://"),
        ({"mqtt": {"address": "x:0", "topic": "t"}}, ".pushMethod.mqtt.address: expected tcp://host[:port] or ssl://"),
        ({"mqtt": {"address": "x:1"}}, ".pushMethod.mqtt.topic: expected the name of a topic, without wildcards, got ''"),
        (
            {"mqtt": {"address": "x:1", "topic": "a/#"}},
            ".pushMethod.mqtt.topic: expected the name of a topic, without wildcards",
        ),
        ({"mqtt": {"address": "x:1", "topic": "a", "qos": 3}}, ".pushMethod.mqtt.qos: expected 0, 1 or 2, got 3"),
        ({"otel": {}}, ".pushMethod.otel.endpointURL: expected http://host[:port][/path], got ''"),
        (db(influxdb2={}), ".pushMethod.dbMethod.influxdb2.influxdb2ClientConfig.url: expected http://host[:port][/path]"),
        (
            db(influxdb2={"influxdb2ClientConfig": {"url": "http://x", "org": "o"}}),
            ".pushMethod.dbMethod.influxdb2.influxdb2ClientConfig.bucket: is missing",
        ),
        (db(redis={}), ".pushMethod.dbMethod.redis.redisClientConfig.addr: "),
        (db(TDEngine={"TDEngineClientConfig": {"addr": "x"}}), "TDEngine.TDEngineClientConfig.dbName: is missing"),
        (db(mysql={"mysqlClientConfig": {"addr": "x", "database": "d"}}), "mysql.mysqlClientConfig.userName: is missing"),
    ],
)
def test_a_mistake_names_its_field_and_costs_no_other_property(method: dict[str, Any], problem: str) -> None:
    made = plan([device({"mqtt": {"address": "b:1", "topic": "t"}}, method)])
    ((where, (text,)),) = made.problems.items()
    assert where == ("plant", "meter")
    assert text.startswith("spec.properties[1].pushMethod")
    assert problem in text
    assert list(made.targets) == ["mqtt tcp://b:1"]


TARGET = Target("influxdb2", "http://x:1", ("o", "b"))


def test_credentials_come_from_the_secret_that_is_named_and_else_from_the_environment() -> None:
    environ = {"TOKEN": "e", "USERNAME": "eu", "PASSWORD": "ep"}
    assert credentials(TARGET, None, environ) == Credentials("e")
    named = TARGET._replace(secret="plant/s")  # noqa: S106  a name
    assert credentials(named, {"TOKEN": "s", "ca.crt": "pem"}, environ) == Credentials("s", ca="pem")
    assert credentials(Target("redis", "x:1"), None, environ) == Credentials(password="ep")  # noqa: S106
    assert credentials(Target("mqtt", "tcp://x:1"), None, environ) == Credentials()
    with_secret = Target("mqtt", "tcp://x:1", secret="plant/s")  # noqa: S106
    assert credentials(with_secret, {"USERNAME": "u", "PASSWORD": "p"}, {}) == Credentials("", "u", "p")


@pytest.mark.parametrize(
    ("target", "secret", "text"),
    [
        (TARGET, None, "no TOKEN in the environment of edged; or name a Secret in secretName"),
        (Target("TDEngine", "x:1", ("d",)), None, "no USERNAME and no PASSWORD in the environment of edged"),
        (TARGET._replace(secret="plant/s"), None, "there is no Secret plant/s"),  # noqa: S106
        (TARGET._replace(secret="plant/s"), {"OTHER": "x"}, "no TOKEN in the Secret plant/s"),  # noqa: S106
        (Target("mysql", "x:1", ("d", "u")), None, "no PASSWORD in the environment of edged"),
    ],
)
def test_what_is_missing_is_said_with_where_it_is_looked_for(target: Target, secret: dict[str, str] | None, text: str) -> None:
    with pytest.raises(DeniedError) as error:
        credentials(target, secret, {})
    assert text in str(error.value)


DATABASES = ("influxdb2", "redis", "mysql", "TDEngine")
EXAMPLE = Path(__file__).parents[3] / "packaging" / "examples" / "push.yaml"


async def test_the_example_has_every_method(fleet_of_devices: Any) -> None:
    secret, model, manifest = yaml.safe_load_all(EXAMPLE.read_text())
    await fleet_of_devices.apply(model)
    await fleet_of_devices.apply(manifest)
    made: list[Plan] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet_of_devices.devices(listed=lambda devices: made.append(plan(devices))).run)
        await fleet_of_devices.until(lambda: fleet_of_devices.status("push-meter").state == "ok")
        nursery.cancel_scope.cancel()
    assert made[0].problems == {}
    targets = {target.method: target for target in made[0].targets.values()}
    assert set(targets) == {"mqtt", "http", "otel", *DATABASES}
    for name in DATABASES:
        assert targets[name].secret == "default/targets"  # noqa: S105  a name
        assert credentials(targets[name], secret["stringData"], {}) != Credentials()
