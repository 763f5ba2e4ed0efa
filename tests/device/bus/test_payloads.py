import json
import random
from typing import Any

import msgspec
import pytest

from edged.device.bus import payloads
from edged.device.bus.payloads import Failure, Question, Update, Version
from edged.device.external import Told
from edged.device.readings import Reading
from edged.errors import ProtocolError
from edged.model.devices import Device

UPDATE = {
    "event_id": "123",
    "timestamp": 1,
    "twin": {
        "setpoint": {"expected": {"value": "21"}, "expected_version": {"cloud": 3, "edge": 2}, "metadata": {"type": "int"}},
        "temperature": {"actual": {"value": "20.5", "metadata": {"timestamp": 1_700_000_000_000}}, "optional": False},
        "heating": None,
    },
}
DEVICE: dict[str, Any] = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "Device",
    "metadata": {"name": "lamp", "namespace": "default", "labels": {"room": "hall"}},
    "spec": {
        "properties": [
            {
                "name": "setpoint",
                "desired": {"value": "21", "metadata": {"timestamp": "5", "version": "2", "cloudVersion": "1"}},
            },
            {"name": "temperature"},
        ]
    },
    "status": {
        "twins": [
            {
                "propertyName": "setpoint",
                "reported": {"value": "20", "metadata": {"timestamp": "7", "type": "int", "version": "4"}},
            }
        ],
        "state": "online",
        "lastOnlineTime": "2026-08-06T12:00:01Z",
    },
}


def device(**changes: Any) -> Device:
    return msgspec.convert({**DEVICE, **changes}, Device)


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_an_update_says_what_should_be_and_what_is() -> None:
    expected = {"setpoint": "21", "heating": None}
    told = {"temperature": Told("20.5", 1_700_000_000_000)}
    assert payloads.parse_update(dump(UPDATE)) == Update("123", expected, told, {"setpoint": Version(3, 2)})


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "expected JSON"),
        (b"{}", 'with the key "twin"'),
        (b'{"twin": []}', "expected JSON"),
        (dump({"twin": {"a b": None}}), "1 to 128 letters"),
        (dump({"twin": {"a" * 129: None}}), "1 to 128 letters"),
        (dump({"twin": {"a": {"actual": {"value": "x" * 513}}}}), "at most 512"),
        (dump({"twin": {"a": {"expected": {"value": 5}}}}), "Expected `str"),
        (dump({"twin": {str(each): None for each in range(257)}}), "at most 256"),
        (dump({"twin": {}, "event_id": "x" * 257}), "at most 256"),
        (b'{"twin": {"a": ' + b"[" * 100_000, "expected JSON"),
        (b" " * (payloads.MAX_PAYLOAD + 1), "bytes; at most"),
    ],
)
def test_updates_that_are_none(payload: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        payloads.parse_update(payload)


def test_a_value_of_full_length_is_taken() -> None:
    name, value = "a" * 128, "x" * 512
    assert payloads.parse_update(dump({"twin": {name: {"actual": {"value": value}}}})).actual == {name: Told(value)}


def test_questions_states_and_data() -> None:
    assert payloads.parse_question(b'{"event_id": "1", "timestamp": 5}') == Question("1")
    assert payloads.parse_state(b'{"event_id": "1", "state": "online"}') == ("1", "online")
    with pytest.raises(ProtocolError, match="expected one of online, offline, unknown"):
        payloads.parse_state(b'{"state": "broken"}')
    told = {"a": Told("1", 5)}
    assert payloads.parse_data(dump({"data": {"a": {"value": "1", "metadata": {"timestamp": 5, "type": "int"}}}})) == told
    assert payloads.parse_data(dump({"twin": {"a": {"actual": {"value": "1", "metadata": {"timestamp": 5}}}}})) == told


def test_whatever_comes_only_a_protocol_error_comes_of_it() -> None:
    seed = 5
    dice = random.Random(seed)
    parsers = (payloads.parse_update, payloads.parse_question, payloads.parse_state, payloads.parse_data)
    valid = [
        dump(UPDATE),
        b'{"event_id": "1", "state": "online"}',
        dump({"data": {"a": {"value": "1", "metadata": {"timestamp": 5}}}}),
    ]
    refused = 0
    for _ in range(50_000):
        data = bytearray(dice.choice(valid))
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(4)] = dice.choice([dice.randbytes(2), b'"', b"{", b"1e999", b"\\ud800", b"null", b""])
        for parse in parsers:
            try:
                parse(bytes(data))
            except ProtocolError:
                refused += 1
    assert refused > 4000, seed


def test_the_twin_as_kubeedge_shows_it() -> None:
    views = payloads.views(device())
    assert views["setpoint"] == {
        "expected": {"value": "21", "metadata": {"timestamp": 5}},
        "expected_version": {"cloud": 1, "edge": 2},
        "actual": {"value": "20", "metadata": {"timestamp": 7}},
        "actual_version": {"cloud": 0, "edge": 4},
        "optional": True,
        "metadata": {"type": "int"},
    }
    shown = payloads.shown(views)
    assert shown["temperature"] == {"optional": True, "metadata": {"type": "string"}}
    assert "actual_version" not in (shown["setpoint"] or {})


def test_a_delta_names_what_is_not_as_it_should_be() -> None:
    views = payloads.views(device())
    said = json.loads(payloads.delta("1", 9, views) or b"")
    assert said["delta"] == {"setpoint": "21"}
    assert list(said["twin"]) == ["setpoint"]
    views["setpoint"]["actual"]["value"] = "21"
    assert payloads.delta("1", 9, views) is None


def test_a_document_has_what_changed_before_and_after() -> None:
    before, after = payloads.views(device()), payloads.views(device(status={}))
    said = json.loads(payloads.document("1", 9, before, after))
    assert list(said["twin"]) == ["setpoint"]
    assert said["twin"]["setpoint"]["last"]["actual"]["value"] == "20"
    assert "actual" not in said["twin"]["setpoint"]["current"]
    updated = json.loads(payloads.edge_updated("1", 9, before, after))
    assert updated["twin"]["setpoint"]["expected_version"] == {"cloud": 1, "edge": 2}
    gone = json.loads(payloads.document("1", 9, before, {}))
    assert gone["twin"]["setpoint"]["current"] is None


def test_answers() -> None:
    assert json.loads(payloads.failed("1", 9, Failure(404, "gone"))) == {
        **{"event_id": "1", "timestamp": 9, "code": 404, "reason": "gone"}
    }
    assert json.loads(payloads.state_result("1", 9, device()))["device"] == {
        **{"name": "lamp", "state": "online", "last_online": "2026-08-06 12:00:01"}
    }
    (member,) = json.loads(payloads.membership("1", 9, [device()]))["devices"]
    assert (member["id"], member["attributes"]["room"]["value"]) == ("default/lamp", "hall")
    assert "twin" not in member
    (member,) = json.loads(payloads.membership("1", 9, [device()], twins=True))["devices"]
    assert set(member["twin"]) == {"setpoint", "temperature"}
    changed = json.loads(payloads.membership_updated("1", 9, [device()], []))
    assert (len(changed["added_devices"]), changed["removed_devices"]) == (1, [])
    assert json.loads(payloads.attributes_updated("1", 9, device()))["attributes"]["room"]["value"] == "hall"


def test_readings_are_told_with_their_own_times() -> None:
    said = json.loads(payloads.data_update("1", 9, [Reading("a", "int", "1", 7), Reading("a", "int", "2", 8)]))
    assert said["data"] == {"a": {"value": "2", "metadata": {"timestamp": 8, "type": "int"}}}
    assert payloads.parse_data(dump(said)) == {"a": Told("2", 8)}
