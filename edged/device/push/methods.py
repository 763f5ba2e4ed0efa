"""The table of methods: who sends to a target. What only some need is loaded when a target needs it."""

import hashlib
from contextlib import AbstractAsyncContextManager, aclosing

from edged.device.push import http, influxdb2, otel, tdengine
from edged.device.push.parcels import Credentials, Sender, Target
from edged.device.push.web import WebSender

CLIENT_DIGITS = 8  # of the digest in an MQTT client id: a node's targets at one broker, and two nodes, never share one


def sender(target: Target, credentials: Credentials, node: str) -> AbstractAsyncContextManager[Sender]:
    """A sender while it is entered. DeniedError: its credentials cannot be used; entering may raise UnreachableError, too."""
    match target.method:
        case "http":
            return aclosing(WebSender(target, credentials, http.form(node, credentials)))
        case "otel":
            return aclosing(WebSender(target, credentials, otel.form(node, credentials), otel.verdict))
        case "influxdb2":
            return aclosing(WebSender(target, credentials, influxdb2.form(target, credentials)))
        case "TDEngine":
            at_http = target._replace(url=f"http://{target.url}")
            return aclosing(WebSender(at_http, credentials, tdengine.form(target, credentials), tdengine.verdict))
        case "mqtt":
            from edged.device.push.mqtt import mqtt_sender  # noqa: PLC0415

            digest = hashlib.sha256(f"{node} {target}".encode()).hexdigest()[:CLIENT_DIGITS]
            return mqtt_sender(target, credentials, node, f"edged-{node}-{digest}")
        case "redis":
            from edged.device.push.redis import RedisSender  # noqa: PLC0415

            return aclosing(RedisSender(target, credentials, node))
        case "mysql":
            from edged.device.push.mysql import MysqlSender  # noqa: PLC0415

            return aclosing(MysqlSender(target, credentials, node))
    raise ValueError(f"no method {target.method}")
