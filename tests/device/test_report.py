from typing import Any

import pytest

from edged.device.report import (
    ANSWERS,
    AWAY,
    GARBLED,
    MAX_TOLD,
    UNTRIED,
    Health,
    conditions,
    differs,
    lasting,
    rfc3339,
    state,
    twin_value,
    versioned,
)
from edged.model.devices import DeviceStatus, Twin, TwinValue
from edged.model.meta import Condition


def health(**more: Any) -> Health:
    sound: dict[str, Any] = {
        "link": ANSWERS, "link_text": "", "recently": False, "wiring": (), "readings": (), "refused": (), "failed": (),
        "pending": (), "usable": True, "desires": False,
    }  # fmt: skip
    return Health(**{**sound, **more})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "ok"),
        ({"wiring": ["spec: wrong"]}, "online"),
        ({"readings": ["x: refused"]}, "online"),
        ({"readings": ["x: refused"], "usable": False}, "unhealthy"),
        ({"link": GARBLED}, "unhealthy"),
        ({"link": AWAY}, "offline"),
        ({"link": AWAY, "recently": True}, "disconnected"),
        ({"link": UNTRIED, "wiring": ["spec: wrong"]}, "unknown"),
        ({"refused": ["x: over its maximum"]}, "ok"),
    ],
)
def test_states(more: dict[str, Any], expected: str) -> None:
    assert state(health(**more)) == expected


@pytest.mark.parametrize(
    ("more", "type_", "expected"),
    [
        ({}, "Configured", ("True", "Wired", "")),
        ({"wiring": ["a: b", "c: d"]}, "Configured", ("False", "WrongConfiguration", "a: b; c: d")),
        ({}, "Connected", ("True", "Answers", "")),
        ({"link": AWAY, "link_text": "gone"}, "Connected", ("False", "Unreachable", "gone")),
        ({"link": GARBLED, "link_text": "odd"}, "Connected", ("False", "Nonsense", "odd")),
        ({"pushing": []}, "Pushed", ("True", "Taken", "")),
        ({"pushing": ["x: away"], "link": UNTRIED}, "Pushed", ("False", "NotTaken", "x: away")),
        ({}, "ReadingsValid", ("True", "AsModelled", "")),
        ({"readings": ["x: 9 is over"]}, "ReadingsValid", ("False", "NotAsModelled", "x: 9 is over")),
        ({"link": AWAY}, "ReadingsValid", None),
        ({}, "DesiredApplied", None),
        ({"desires": True}, "DesiredApplied", ("True", "Applied", "")),
        ({"desires": True, "pending": ["x: 1"]}, "DesiredApplied", ("False", "Pending", "x: 1")),
        ({"desires": True, "pending": ["x"], "failed": ["y"]}, "DesiredApplied", ("False", "NotTaken", "y; x")),
        ({"desires": True, "refused": ["z"], "failed": ["y"]}, "DesiredApplied", ("False", "Refused", "z; y")),
        ({"link": UNTRIED}, "Connected", None),
    ],
)
def test_conditions(more: dict[str, Any], type_: str, expected: tuple[str, str, str] | None) -> None:
    found = {each.type: (each.status, each.reason, each.message) for each in conditions(health(**more), (), 0)}
    assert found.get(type_) == expected


def test_a_condition_is_as_old_as_its_status() -> None:
    before = (Condition("Connected", "True", "Answers", "", "2020-01-01T00:00:00Z"), Condition("Configured", "False"))
    found = {each.type: each.last_transition_time for each in conditions(health(), before, 60)}
    assert found == {
        "Configured": "1970-01-01T00:01:00Z",
        "Connected": "2020-01-01T00:00:00Z",
        "ReadingsValid": "1970-01-01T00:01:00Z",
    }


def test_a_condition_stays_readable() -> None:
    found = conditions(health(wiring=[f"p{n}" for n in range(MAX_TOLD + 3)]), (), 0)
    assert found[0].message == "p0; p1; p2; p3; p4; p5; p6; p7; and 3 more"


def test_when_two_statuses_say_the_same() -> None:
    def status(value: str = "1", wall: float = 0, message: str = "", **more: Any) -> DeviceStatus:
        said = (Condition("Connected", "False", "Unreachable", message),)
        return DeviceStatus((Twin("x", twin_value(value, "INT", wall)),), "ok", rfc3339(wall), said, **more)

    assert not differs(status(), status(wall=9, message="timed out"))
    assert differs(status(), status("2"))
    assert differs(status(), DeviceStatus(status().twins, "offline", "", status().conditions))
    assert differs(status(), DeviceStatus(status().twins, "ok", "", (Condition("Connected", "True", "Answers"),)))
    assert differs(status(), DeviceStatus((), "ok", "", status().conditions))


def test_kubeedge_metadata() -> None:
    assert twin_value("21.5", "FLOAT", 1700000000.1228) == TwinValue("21.5", {"timestamp": "1700000000123", "type": "float"})


def status(value: str = "20.5", observed: str = "21", state: str = "ok", at: float = 1.0, message: str = "") -> DeviceStatus:
    twin = Twin("temperature", twin_value(value, "FLOAT", at), twin_value(observed, "FLOAT", at))
    valid = Condition("ReadingsValid", "True", "AsModelled", message, rfc3339(0))
    return DeviceStatus((twin,), state, rfc3339(at), (valid,))


def test_readings_and_times_may_be_lost_and_nothing_else() -> None:
    assert not lasting(status(), status(value="19", at=99.0, message="temperature: 19 is low"))
    assert lasting(status(), status(observed="22"))
    assert lasting(status(), status(state="offline"))
    assert lasting(status(), DeviceStatus())
    failed = Condition("ReadingsValid", "False", "NotAsModelled", "", rfc3339(0))
    assert lasting(status(), DeviceStatus(status().twins, "ok", rfc3339(1), (failed,)))


def test_versions_count_values() -> None:
    first = versioned(twin_value("1", "INT", 1.0), TwinValue())
    assert first.metadata == {"timestamp": "1000", "type": "int", "version": "1"}
    assert versioned(twin_value("1", "INT", 2.0), first).metadata["version"] == "1"
    assert versioned(twin_value("2", "INT", 2.0), first).metadata["version"] == "2"
    assert versioned(TwinValue(), first) == TwinValue()
    assert versioned(twin_value("2", "INT", 2.0), TwinValue("2", {"version": "two"})).metadata["version"] == "1"
