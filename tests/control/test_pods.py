import json

from edged.control.pods import Owned, Parsed, next_uid, successor
from edged.model.objects import Key, Object, dump

NOW = 1_700_000_000.0
OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1", "controller": True}


def pod(**metadata: object) -> Owned:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u1", "labels": {"app": "web"}, **metadata},
        "spec": {"containers": [{"name": "c", "image": "i", "tty": True}], "nodeName": "gw-b"},
    }
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return Owned.of(Object(Key("pods", "default", "web-0"), 7, "u1", dump(body), dump(status)))


def test_what_a_controller_sees() -> None:
    assert pod().ready
    assert pod().controller is None
    assert not pod().going
    assert pod(deletionTimestamp="2026-01-01T00:00:00Z").going
    controller = pod(ownerReferences=[{**OWNER, "uid": "x", "controller": False}, OWNER]).controller
    assert controller is not None
    assert controller.uid == "d1"


def test_the_next_pod_of_a_name_follows_from_the_last() -> None:
    assert next_uid("d1", "web-0", "u1") == next_uid("d1", "web-0", "u1")
    assert len({next_uid("d1", "web-0", last) for last in (None, "u1", "u2")} | {next_uid("", "web-0", "u1")}) == 4


def test_a_successor_is_the_same_wish_unbound() -> None:
    each = pod(ownerReferences=[OWNER], annotations={"a": "b"}, deletionGracePeriodSeconds=3, generation=4)
    gone, made = successor(each, NOW)
    assert (gone.key, gone.rv, gone.uid) == (each.object.key, 7, "u1")
    assert (made.key, made.uid) == (each.object.key, next_uid("d1", "web-0", "u1"))
    body = json.loads(made.body)
    assert body["spec"] == {"containers": [{"name": "c", "image": "i", "tty": True}]}
    assert body["metadata"] == {
        "name": "web-0",
        "namespace": "default",
        "uid": made.uid,
        "creationTimestamp": "2023-11-14T22:13:20Z",
        "labels": {"app": "web"},
        "annotations": {"a": "b"},
        "ownerReferences": [OWNER],
    }
    assert json.loads(made.status or b"") == {"phase": "Pending"}


def test_what_has_not_changed_is_not_parsed_again() -> None:
    parsed = Parsed()
    each = pod().object
    [first] = parsed.read([each])
    assert parsed.read([each])[0] is first
    [changed] = parsed.read([each._replace(rv=8, status=dump({"phase": "Failed"}))])
    assert changed.pod.status.phase == "Failed"
    [other] = parsed.read([each._replace(rv=8, uid="u2")])
    assert other.pod.metadata.uid == "u2"
    assert parsed.read([]) == []
    parsed.read([each])
    parsed.forget()
    assert parsed.read([each])[0] is not first
