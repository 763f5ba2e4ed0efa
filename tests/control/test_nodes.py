import json

from edged.control.nodes import Facts, describe, unseen
from edged.model.core import NodeSystemInfo
from edged.model.objects import Key, Object
from edged.store.writes import Create, Put, PutStatus

NOW = 1_700_000_000.0
FACTS = Facts("gw-a", "u1", "site-1", "10.0.0.2", 512 << 20, 2, NodeSystemInfo(architecture="arm64"), {"room": "cellar"})


def made(facts: Facts = FACTS) -> Object:
    [create] = describe(None, facts, NOW)
    assert isinstance(create, Create)
    return Object(create.key, 1, create.uid, create.body, create.status)


def test_a_new_node_describes_itself() -> None:
    obj = made()
    assert obj.key == Key("nodes", "", "gw-a")
    labels = json.loads(obj.body)["metadata"]["labels"]
    assert labels["kubernetes.io/hostname"] == "gw-a"
    assert labels["kubernetes.io/arch"] == "arm64"
    assert labels["room"] == "cellar"
    status = json.loads(obj.status)
    assert status["capacity"] == {"cpu": "2", "memory": "524288Ki", "pods": "110"}
    assert status["conditions"][0]["type"] == "Ready"


def test_nothing_new_is_not_written() -> None:
    assert describe(made(), FACTS, NOW + 1000) == []


def test_labels_of_people_stay_and_ours_come_back() -> None:
    obj = made()
    obj = obj._replace(body=obj.body.replace(b'"room":"cellar"', b'"owner":"ot"'))
    [put] = describe(obj, FACTS, NOW)
    assert isinstance(put, Put)
    labels = json.loads(put.body)["metadata"]["labels"]
    assert labels["owner"] == "ot"
    assert labels["room"] == "cellar"


def test_a_node_that_is_not_seen_is_unknown_until_it_says_otherwise() -> None:
    obj = made()
    [put] = unseen(obj, NOW + 40)
    assert isinstance(put, PutStatus)
    obj = obj._replace(status=put.status)
    assert json.loads(put.status)["conditions"][0]["status"] == "Unknown"
    assert json.loads(put.status)["capacity"]["cpu"] == "2"
    assert unseen(obj, NOW + 80) == []
    [back] = describe(obj, FACTS, NOW + 90)
    assert isinstance(back, PutStatus)
    assert json.loads(back.status)["conditions"][0]["status"] == "True"
