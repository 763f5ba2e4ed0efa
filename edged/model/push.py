"""pushMethod of a Device's property: where its readings go. Names are KubeEdge's, as much of them as edged acts on."""

import msgspec

from edged.model.meta import Part


class PushHttp(Part, frozen=True):
    """POSTs to `host_name` (with or without http:// or https://), `port` and `request_path`; `timeout` in seconds."""

    host_name: str = ""
    port: int = 0
    request_path: str = "/"
    timeout: int = 0


class PushMqtt(Part, frozen=True):
    """Publishes to the broker at `address` (tcp://host:1883, ssl://host:8883)."""

    address: str = ""
    topic: str = ""
    qos: int = 0
    retained: bool = False


class PushOtel(Part, frozen=True):
    """Sends metrics as OTLP/HTTP; a URL without a path means /v1/metrics."""

    endpoint_url: str = msgspec.field(default="", name="endpointURL")


class InfluxClient(Part, frozen=True):
    """A bucket."""

    url: str = ""
    org: str = ""
    bucket: str = ""


class InfluxData(Part, frozen=True):
    """How points are called; the device and the property when it does not say."""

    measurement: str = ""
    tag: dict[str, str] = {}
    field_key: str = ""


class PushInflux(Part, frozen=True):
    """Points of InfluxDB 2."""

    client: InfluxClient = msgspec.field(default=InfluxClient(), name="influxdb2ClientConfig")
    data: InfluxData = msgspec.field(default=InfluxData(), name="influxdb2DataConfig")


class RedisClient(Part, frozen=True):
    """A Redis at host:port."""

    addr: str = ""
    db: int = 0


class PushRedis(Part, frozen=True):
    """A sorted set by time for each device."""

    client: RedisClient = msgspec.field(default=RedisClient(), name="redisClientConfig")


class TdengineClient(Part, frozen=True):
    """A database of a TDengine whose REST interface is at host:port."""

    addr: str = ""
    db_name: str = ""


class PushTdengine(Part, frozen=True):
    """A super table for each device."""

    client: TdengineClient = msgspec.field(default=TdengineClient(), name="TDEngineClientConfig")


class MysqlClient(Part, frozen=True):
    """A database of a MySQL or MariaDB at host:port."""

    addr: str = ""
    database: str = ""
    user_name: str = ""


class PushMysql(Part, frozen=True):
    """A table for each property."""

    client: MysqlClient = msgspec.field(default=MysqlClient(), name="mysqlClientConfig")


class DbMethod(Part, frozen=True):
    """Databases."""

    influxdb2: PushInflux | None = None
    redis: PushRedis | None = None
    tdengine: PushTdengine | None = msgspec.field(default=None, name="TDEngine")
    mysql: PushMysql | None = None


class PushMethod(Part, frozen=True):
    """Any number of targets.

    `secret_name` (ours) is the Secret, in the device's namespace, with their TOKEN, USERNAME, PASSWORD and ca.crt.
    """

    http: PushHttp | None = None
    mqtt: PushMqtt | None = None
    otel: PushOtel | None = None
    db_method: DbMethod | None = None
    secret_name: str = ""
