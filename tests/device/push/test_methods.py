"""Every method that a manifest may name has a sender, and what only some need is loaded for them alone."""

import subprocess
import sys
from pathlib import Path

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


def test_clients_are_loaded_when_a_target_needs_them() -> None:
    script = "import sys, edged.device.push.pushing\nprint({'paho', 'redis', 'pymysql', 'asyncio'} & set(sys.modules))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "set()\n"
