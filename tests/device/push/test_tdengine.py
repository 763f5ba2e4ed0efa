"""SQL for a TDengine: nothing that a device says leaves its quotes."""

import pytest

from edged.device.push.form import Answer
from edged.device.push.parcels import Credentials, Parcel, Route, Target
from edged.device.push.tdengine import form, insert, verdict
from edged.device.readings import Reading
from edged.errors import DeniedError, InvalidError

TARGET = Target("TDEngine", "x:1", ("my db",))


def parcel(*readings: Reading, device: str = "meter-1") -> Parcel:
    return Parcel(1, "default", device, Route(), readings or (Reading("power", "float", "1.5", 7),))


def test_a_super_table_is_made_once_for_a_device_and_each_property_has_a_table() -> None:
    make = form(TARGET, Credentials("", "root", "taosdata"))
    first, second = list(make([parcel()])), list(make([parcel(), parcel(device="pump")]))
    assert [each.body.split(b" (")[0] for each in first] == [
        b"CREATE STABLE IF NOT EXISTS `default/meter-1`",
        b"INSERT INTO `default/meter-1/power` USING `default/meter-1` TAGS",
    ]
    assert [each.body[:6] for each in second] == [b"CREATE", b"INSERT"]
    assert first[0].path == "/rest/sql/my%20db"
    assert first[0].headers == {"Authorization": "Basic cm9vdDp0YW9zZGF0YQ=="}


def test_all_readings_are_one_statement() -> None:
    text = insert([parcel(Reading("a", "int", "1", 5), Reading("b", "int", "2", 5)), parcel(Reading("a", "int", "3", 6))])
    assert text == (
        "INSERT INTO `default/meter-1/a` USING `default/meter-1` TAGS ('a') VALUES "
        "(5,'default/meter-1','a','1','int')(6,'default/meter-1','a','3','int') "
        "`default/meter-1/b` USING `default/meter-1` TAGS ('b') VALUES (5,'default/meter-1','b','2','int')"
    )


def test_a_value_cannot_leave_its_quotes_nor_a_name_its_own() -> None:
    text = insert([parcel(Reading("a`b\\", "string", "x'); DROP DATABASE d; --\\", 5))])
    assert "`default/meter-1/a_b_`" in text
    assert "'x\\'); DROP DATABASE d; --\\\\'" in text


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"code":0,"rows":1}', None),
        (b'{"code":904,"desc":"Database not exist"}', DeniedError),
        (b'{"code":855,"desc":"Authentication failure"}', DeniedError),
        (b'{"code":9728,"desc":"syntax error"}', InvalidError),
        (b"<html>", DeniedError),
        (b"\xff", DeniedError),
    ],
)
def test_what_it_answers_is_in_the_body(body: bytes, error: type[Exception] | None) -> None:
    if error is None:
        assert verdict(Answer(200, body)) == 0
    else:
        with pytest.raises(error):
            verdict(Answer(200, body))
