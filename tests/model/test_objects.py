import json
from typing import Any

import msgspec
import pytest

from edged.model.core import Event, Namespace, Node, Pod, Service
from edged.model.objects import Key, Object, dump, key, key_of, namespaced, split, typed, whole

JSON = dict[str, Any]


def stored(value: JSON, kind: type[Any], rv: int = 7) -> Object:
    body, status = split(value)
    return Object(key(kind, value["metadata"]["name"], value["metadata"].get("namespace", "")), rv, "u-1", body, status)


def test_keys(pod: JSON) -> None:
    assert str(key(Pod, "web-0", "default")) == "pods/default/web-0"
    assert str(key(Node, "gw-a")) == "nodes/gw-a"
    assert key_of(msgspec.convert(pod, Pod)) == Key("pods", "default", "web-0")
    assert key_of(Namespace("v1", "Namespace")).namespace == ""
    assert namespaced("pods")
    assert not namespaced("nodes")


def test_body_and_status_are_two_registers(pod: JSON) -> None:
    pod["metadata"]["resourceVersion"] = "3"
    body, status = split({**pod, "status": {"phase": "Running"}})
    assert json.loads(status or b"") == {"phase": "Running"}
    assert "status" not in json.loads(body)
    assert "resourceVersion" not in json.loads(body)["metadata"]
    assert pod["metadata"]["resourceVersion"] == "3"


def test_there_and_back(pod: JSON) -> None:
    pod["status"] = {"phase": "Running", "podIP": "10.0.0.1", "unknownToEdged": 1}
    pod["spec"]["priorityClassName"] = "kept"
    found = whole(stored(pod, Pod))
    assert found == {**pod, "metadata": {**pod["metadata"], "resourceVersion": "7"}}


def test_the_typed_struct(pod: JSON, service: JSON) -> None:
    pod["status"] = {"phase": "Running"}
    found = typed(stored(pod, Pod), Pod)
    assert (found.metadata.resource_version, found.metadata.uid, found.status.phase) == ("7", "u-1", "Running")
    assert found.spec.containers[0].name == "web"
    service["status"] = {"loadBalancer": {}}  # Service's struct has no status
    assert typed(stored(service, Service), Service).spec.ports[0].port == 80
    assert typed(stored({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}}, Event), Event).type == ""


def test_the_fields_of_a_struct_are_looked_up_once(pod: JSON, monkeypatch: pytest.MonkeyPatch) -> None:
    pod["status"] = {"phase": "Running"}
    obj = stored(pod, Pod)
    typed(obj, Pod)
    monkeypatch.delattr(msgspec.structs, "fields")
    assert typed(obj, Pod).status.phase == "Running"


def test_compact_json_in_its_order() -> None:
    assert dump({"b": 1, "a": [None, "ä"]}) == '{"b":1,"a":[null,"ä"]}'.encode()


def test_an_object_is_called_by_its_key(pod: JSON) -> None:
    obj = stored(pod, Pod)._replace(key=Key("pods", "prod", "other"))
    assert (typed(obj, Pod).metadata.namespace, typed(obj, Pod).metadata.name) == ("prod", "other")
