import json
from typing import Any

from edged.control.lease import KEY, Sign, take
from edged.control.liveness import AGAIN_S
from edged.model.objects import Object, dump
from edged.store.writes import Create, Put

NOW = 1_700_000_000.0


def after(writes: list[Any]) -> Object:
    [write] = writes
    return Object(KEY, 1, "u", write.body, None)


def spec(obj: Object) -> Any:
    return json.loads(obj.body)["spec"]


def test_the_first_holder_makes_it_and_the_next_one_counts() -> None:
    [create] = take(None, "gw-a", NOW)
    assert isinstance(create, Create)
    first = after([create])
    assert spec(first) == {"holderIdentity": "gw-a", "acquireTime": "2023-11-14T22:13:20.000000Z", "leaseTransitions": 0}
    assert json.loads(create.body)["kind"] == "Lease"
    assert take(first, "gw-a", NOW + 100) == []
    [put] = take(first, "gw-b", NOW + 0.5)
    assert isinstance(put, Put)
    assert spec(after([put])) == {"holderIdentity": "gw-b", "acquireTime": "2023-11-14T22:13:20.500000Z", "leaseTransitions": 1}


def test_what_others_wrote_into_it_stays() -> None:
    theirs = Object(
        KEY, 1, "u", dump({"metadata": {}, "apiVersion": "a", "kind": "b", "spec": {"leaseDurationSeconds": 9}}), None
    )
    assert spec(after(take(theirs, "gw-a", NOW)))["leaseDurationSeconds"] == 9


def test_two_that_both_lead_do_not_argue() -> None:
    sign = Sign()
    ours = after(sign.writes(None, "gw-b", NOW, 0.0))
    theirs = after(take(None, "gw-a", NOW))
    assert sign.writes(ours, "gw-b", NOW, 1.0) == []
    assert sign.writes(theirs, "gw-b", NOW, AGAIN_S - 0.1) == []
    assert sign.writes(theirs, "gw-b", NOW, AGAIN_S)
    sign.rest()
    assert sign.writes(theirs, "gw-b", NOW, AGAIN_S + 1)
