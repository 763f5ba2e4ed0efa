import json

import pytest

from edged.model.deletion import marked
from edged.model.objects import Key, Object


def test_a_later_mark_may_shorten_the_wait_only() -> None:
    obj = Object(Key("pods", "default", "web-0"), 1, "u", b'{"metadata":{"name":"web-0"},"spec":{}}', None)
    now = 1_700_000_000.0
    obj = obj._replace(body=marked(obj, 30, now))
    assert json.loads(obj.body)["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:50Z"
    assert json.loads(marked(obj, 60, now + 1))["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:50Z"
    sooner = json.loads(marked(obj, 0, now + 1))["metadata"]
    assert (sooner["deletionTimestamp"], sooner["deletionGracePeriodSeconds"]) == ("2023-11-14T22:13:21Z", 0)


@pytest.mark.parametrize(("grace", "ends"), [(2**63 - 1, "2024-11-13T22:13:20Z"), (-(2**63), "2023-11-14T22:13:20Z")])
def test_an_end_is_always_a_date(grace: int, ends: str) -> None:
    obj = Object(Key("pods", "default", "web-0"), 1, "u", b'{"metadata":{"name":"web-0"},"spec":{}}', None)
    assert json.loads(marked(obj, grace, 1_700_000_000.0))["metadata"]["deletionTimestamp"] == ends
