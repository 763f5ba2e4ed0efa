from random import Random
from typing import Any

import pytest

from edged.api.protobuf import MAGIC, PROTOBUF, decode
from edged.errors import InvalidError
from edged.model.limits import MAX_NODES


def varint(number: int) -> Any:
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def message(*fields: Any) -> Any:
    """Fields as (number, value): a number, or the bytes or text of something with a length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def body(kind: str, raw: bytes, version: str = "v1", encoding: str = "") -> Any:
    return MAGIC + message((1, message((1, version), (2, kind))), (2, raw), (3, encoding))


META = message((1, "a"), (2, ""), (7, 0), (8, b""), (11, message((1, "app"), (2, "web"))), (17, message((1, "kubectl"))))
CONTAINER = message(
    (1, "c"),
    (2, "i:1"),
    (3, "sh"),
    (3, "-c"),
    (6, message((2, 0), (3, 8080), (4, "TCP"))),
    (7, message((1, "E"), (3, message((3, message((1, message((1, "m"))), (2, "k"))))))),
    (8, message((1, message((1, "cpu"), (2, message((1, "500m"))))))),
    (10, message((1, message((2, message((1, "/z"), (2, message((1, 1), (2, 0), (3, "web"))))))), (2, 0), (3, 5))),
    (16, 0),
)
POD = message((1, META), (2, message((2, CONTAINER), (3, "Always"), (4, 0), (11, 0))), (3, message((1, ""))))


def test_a_pod() -> None:
    container = {
        "name": "c",
        "image": "i:1",
        "command": ["sh", "-c"],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}],
        "resources": {"limits": {"cpu": "500m"}},
        "livenessProbe": {"httpGet": {"path": "/z", "port": "web"}, "timeoutSeconds": 5},
    }
    assert decode(body("Pod", POD)) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "labels": {"app": "web"}},
        "spec": {"containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 0},
        "status": {},
    }


def test_numbers_times_and_bytes() -> None:
    config = message((1, message((1, "a"), (8, message((1, 60))))), (3, message((1, "b"), (2, b"\x00\xff"))))
    found = decode(body("ConfigMap", config))
    assert found["metadata"]["creationTimestamp"] == "1970-01-01T00:01:00Z"
    assert found["binaryData"] == {"b": "AP8="}
    secret = decode(
        body("Secret", message((2, message((1, "k"), (2, b"hi"))), (3, "Opaque"), (4, message((1, "p"), (2, "x")))))
    )
    assert (secret["data"], secret["type"], secret["stringData"]) == ({"k": "aGk="}, "Opaque", {"p": "x"})
    port = message((1, ""), (3, 80), (4, message((1, 0), (2, -1))))
    assert decode(body("Service", message((2, message((1, port))))))["spec"]["ports"] == [{"port": 80, "targetPort": -1}]
    event = decode(body("Event", message((1, b""), (10, message((1, 1), (2, 500_000_000))))))
    assert event["eventTime"] == "1970-01-01T00:00:01.500000Z"
    scaled = decode(body("Deployment", message((2, message((1, 0)))), "apps/v1"))
    assert (scaled["apiVersion"], scaled["spec"]) == ("apps/v1", {"replicas": 0})


def test_fields_that_are_not_known_are_named_unless_they_say_nothing() -> None:
    assert decode(body("ConfigMap", message((99, 1), (98, 0), (97, ""))))["protobuf-field-99"] is True
    assert "protobuf-field-98" not in decode(body("ConfigMap", message((98, 0), (97, ""))))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        MAGIC + b"\x0a",
        body("Device", b"", "devices.kubeedge.io/v1beta1"),
        body("ConfigMap", b"", encoding="gzip"),
        body("ConfigMap", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        body("ConfigMap", b"\x0a\x05a"),
        body("ConfigMap", b"\x0b"),
        body("ConfigMap", message((1, 7))),
        body("ConfigMap", message((2, message((1, b"\xff"), (2, "x"))))),
        body("ConfigMap", message((1, message((8, message((1, 1 << 60))))))),
        body("ConfigMap", message((4, "yes"))),
        body("ConfigMap", message((1, "")) * (MAX_NODES + 1)),
    ],
)
def test_what_cannot_be_read(data: bytes) -> None:
    with pytest.raises(InvalidError):
        decode(data)


@pytest.mark.parametrize("seed", range(3))
def test_mangled_bodies_raise_the_declared_error_only(seed: int) -> None:
    random = Random(seed)
    for _ in range(2000):
        data = bytearray(body("Pod", POD))
        for _ in range(random.randint(1, 5)):
            at = random.randrange(4, len(data))
            if random.random() < 0.3 and len(data) > 40:
                del data[at : at + random.randint(1, 9)]
            else:
                data[at] = random.randrange(256)
        try:
            decode(bytes(data))
        except InvalidError:
            continue


async def test_a_client_that_speaks_it(client: Any) -> None:
    made = await client(
        "POST", "/api/v1/namespaces/default/pods?fieldValidation=Strict", body("Pod", POD), {"content-type": PROTOBUF}
    )
    assert (made.status, made.json["spec"]["containers"][0]["command"]) == (201, ["sh", "-c"])
    options = body("DeleteOptions", message((1, 0)), "meta.k8s.io/v1")
    assert (await client("DELETE", "/api/v1/namespaces/default/pods/a", options, {"content-type": PROTOBUF})).status == 200
    bad = await client("POST", "/api/v1/namespaces/default/pods", b"k8s\x00\xff", {"content-type": PROTOBUF})
    assert (bad.status, bad.json["reason"]) == (400, "BadRequest")
