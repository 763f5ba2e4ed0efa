"""Every method that a manifest may name has a sender."""

import pytest

from edged.device.push.methods import sender
from edged.device.push.parcels import Credentials, Target

TARGETS = [
    Target("http", "http://127.0.0.1:1"),
    Target("otel", "http://127.0.0.1:1"),
    Target("influxdb2", "http://127.0.0.1:1", ("o", "b")),
    Target("TDEngine", "127.0.0.1:1", ("d",)),
    Target("mqtt", "tcp://127.0.0.1:1"),
    Target("redis", "127.0.0.1:1", ("0",)),
    Target("mysql", "127.0.0.1:1", ("d", "u")),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.method)
def test_each_method_has_a_sender(target: Target) -> None:
    made = sender(target, Credentials("t", "u", "p"), "gw-a")
    assert hasattr(made, "__aenter__")
    with pytest.raises(ValueError, match="no method smoke"):
        sender(target._replace(method="smoke"), Credentials(), "gw-a")
