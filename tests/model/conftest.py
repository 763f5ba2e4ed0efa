from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edged.model import schema
from edged.model.defaults import default
from edged.model.kinds import BY_KIND, Row
from edged.model.meta import Kind
from edged.model.validate import validate, validate_update

JSON = dict[str, Any]


def _parsed(value: JSON) -> tuple[Kind, Row]:
    row = BY_KIND[value["apiVersion"], value["kind"]]
    checked = schema.check(value, row)
    assert checked.errors == []
    return msgspec.convert(default(checked.value, row), type=row.acts), row


@pytest.fixture
def wrong() -> Callable[[JSON], list[str]]:
    """What is wrong with an object that is well-formed, as an answer says it."""

    def find(value: JSON) -> list[str]:
        return [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in validate(*_parsed(value))]

    return find


@pytest.fixture
def changed() -> Callable[[JSON, JSON], list[str]]:
    """What is wrong with the new object in place of the old one."""

    def find(new: JSON, old: JSON) -> list[str]:
        causes = validate_update(_parsed(new)[0], *_parsed(old))
        return [f"{cause.field}: {cause.message}" for cause in causes]

    return find


@pytest.fixture
def put() -> Callable[[JSON, str, Any], JSON]:
    """A copy of an object with an item put in at a path like `spec.ports.0.port`."""

    def copy(value: JSON, path: str, item: Any) -> JSON:
        value = msgspec.json.decode(msgspec.json.encode(value))
        *way, last = path.split(".")
        part: Any = value
        for name in way:
            part = part[int(name)] if isinstance(part, list) else part.setdefault(name, {})
        part[int(last) if isinstance(part, list) else last] = item
        return value

    return copy


@pytest.fixture
def pod() -> JSON:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx:1.27", "ports": [{"containerPort": 80, "name": "http"}]}]},
    }


@pytest.fixture
def deployment(pod: JSON) -> JSON:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod["spec"]},
        },
    }


@pytest.fixture
def service() -> JSON:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


@pytest.fixture
def device() -> JSON:
    return {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": "thermometer", "namespace": "default"},
        "spec": {
            "deviceModelRef": {"name": "thermometer"},
            "nodeName": "gw-a",
            "protocol": {"protocolName": "modbus", "configData": {"ip": "127.0.0.1", "port": 5020, "slaveID": 1}},
            "properties": [{"name": "temperature", "desired": {"value": "21"}, "collectCycle": 500}],
        },
    }
