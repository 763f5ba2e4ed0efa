import pytest

from edged.device.bus.topics import OfDevice, OfNode, asked, matches, of_device, of_node, read


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("$hw/events/device/default/lamp/twin/update", OfDevice("default", "lamp", "/twin/update")),
        ("$hw/events/device/default/lamp/twin/get", OfDevice("default", "lamp", "/twin/get")),
        ("$hw/events/device/default/lamp/state/update", OfDevice("default", "lamp", "/state/update")),
        ("$ke/events/device/default/lamp/data/update", OfDevice("default", "lamp", "/data/update")),
        ("$hw/events/node/gw-a/membership/get", OfNode("/membership/get")),
        ("$hw/events/node/gw-b/membership/get", None),
        ("$hw/events/node/gw-a", None),
        ("$hw/events/device/default/lamp/twin/update/result", None),
        ("$hw/events/device/lamp/twin/update", None),
        ("$hw/events/device//lamp/twin/update", None),
        ("$hw/events/device/default/lamp/data/update", None),
        ("$hw/events/device/", None),
        ("gw-a/user/hello", None),
    ],
)
def test_what_a_topic_is(topic: str, expected: object) -> None:
    assert read(topic, "gw-a") == expected


def test_what_is_asked_is_heard_and_what_is_answered_is_not() -> None:
    filters = asked("gw-a")
    for what in ("/twin/update", "/twin/get", "/twin/cloud_updated", "/state/update", "/state/get"):
        assert any(matches(each, of_device("default", "lamp", what)) for each in filters)
    assert any(matches(each, of_node("gw-a", "/membership/detail")) for each in filters)
    assert not any(matches(each, of_device("default", "lamp", "/twin/update/result")) for each in filters)


@pytest.mark.parametrize(
    ("pattern", "topic", "yes"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$hw/a", False),
        ("+/user/#", "$hw/user/a", False),
        ("+/user/#", "gw/user/a", True),
        ("a/b/c", "a/b", False),
        ("$hw/#", "$hw/a", True),
    ],
)
def test_filters_of_mqtt(pattern: str, topic: str, yes: bool) -> None:
    assert matches(pattern, topic) is yes
