"""What is sent says where it comes from; what is secret does not show."""

import json

from edged.device.push.parcels import Credentials, Parcel, Route, Target, document, encode, size
from edged.device.readings import Reading


def parcel(*readings: Reading) -> Parcel:
    return Parcel(7, "default", "meter", Route("t"), readings or (Reading("power", "float", "21.5", 1_700_000_000_123),))


def test_a_document_has_all_that_a_receiver_needs() -> None:
    assert json.loads(encode(document(parcel(), "gw-a"))) == {
        "node": "gw-a",
        "id": 7,
        "namespace": "default",
        "device": "meter",
        "readings": [{"property": "power", "type": "float", "value": "21.5", "timestamp": 1_700_000_000_123}],
    }


def test_the_size_is_about_that_of_the_document() -> None:
    many = parcel(*(Reading(f"p{number}", "string", "v" * number, number) for number in range(100)))
    assert 0.5 < size(many) / len(encode(document(many, "gw-a"))) < 2


def test_a_target_is_called_by_where_it_is_and_who_asks() -> None:
    assert str(Target("influxdb2", "http://db:8086", ("org", "bucket"))) == "influxdb2 http://db:8086 org bucket"
    assert str(Target("mqtt", "tcp://b:1883", secret="default/broker"))  # noqa: S106  a name == "mqtt tcp://b:1883 (Secret default/broker)"


def test_credentials_do_not_show() -> None:
    assert "hidden" not in repr(Credentials("hidden", "hidden", "hidden"))
