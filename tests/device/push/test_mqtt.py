"""A real mosquitto gets a message a report."""

import json
import subprocess
from contextlib import suppress

import pytest

from edged.device.push.mqtt import mqtt_sender
from edged.device.push.parcels import Credentials, Route, Target
from edged.errors import InvalidError
from tests.device.push import conftest
from tests.device.push.conftest import Server, parcel

pytestmark = pytest.mark.tool("mosquitto")


def target(port: int) -> Target:
    return Target("mqtt", f"tcp://127.0.0.1:{port}")


async def test_reports_arrive_in_order_as_documents(broker: Server) -> None:
    argv = ["mosquitto_sub", "-p", str(broker.port), "-t", "plant/#", "-F", "%t %r %p", "-C", "501", "-q", "1", "-W", "30"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listener:
        async with mqtt_sender(target(broker.port), Credentials(), "gw-a", "edged-test") as sender:
            kept = parcel(0, route=Route("plant/kept", retained=True))
            with suppress(subprocess.TimeoutExpired):  # it is subscribed once it has the first
                while listener.poll() is None:
                    await sender.send([kept])
                    listener.wait(0.1)
                    break
            await sender.send([parcel(number, route=Route("plant/a")) for number in range(1, 501)])
        out, _ = listener.communicate(timeout=conftest.PATIENCE_S)
    lines = [line.split(" ", 2) for line in out.splitlines()]
    assert lines[0][0] == "plant/kept"
    documents = [json.loads(line[2]) for line in lines if line[0] == "plant/a"]
    assert [each["id"] for each in documents][:400] == list(range(1, 501))[:400]
    assert documents[0]["readings"] == [{"property": "power", "type": "float", "value": "1.5", "timestamp": 1_700_000_000_001}]


async def test_what_no_packet_holds_is_refused(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.device.push.mqtt.MAX_PAYLOAD", 1000)
    async with mqtt_sender(target(broker.port), Credentials(), "gw-a", "edged-test") as sender:
        with pytest.raises(InvalidError):
            await sender.send([parcel(1, "v" * 1000)])
        await sender.send([parcel(2)])
