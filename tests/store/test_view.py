from typing import Any

import msgspec

from edged.model.objects import Key, Object
from edged.store.rows import Placed
from edged.store.view import later, seen
from edged.wire.sync import BODY, STATUS, Register

POD = Key("pods", "default", "web-0")


def placed(rv: int, part: str = BODY, **changes: Any) -> Placed:
    register = Register(*POD, part, "u1", "site-1/gw-a:1", rv, rv, b"{}")
    return Placed(msgspec.structs.replace(register, **changes), rv)


def test_an_object_is_its_body_and_the_status_of_its_uid() -> None:
    body, status = placed(1), placed(2, STATUS, value=b"s")
    assert seen(body, status) == Object(POD, 2, "u1", b"{}", b"s")
    assert seen(placed(3), status) == Object(POD, 3, "u1", b"{}", b"s")
    for hidden in (None, placed(2, STATUS, uid="u0"), placed(2, STATUS, value=None)):
        assert seen(body, hidden) == Object(POD, 1, "u1", b"{}", None)
    assert seen(None, status) is seen(placed(4, value=None), status) is None


def test_the_later_one_stands() -> None:
    one, other = placed(1), placed(2)
    assert later(one, other) == later(other, one) == later(None, other) == later(other, None) == other
    assert later(None, None) is None
