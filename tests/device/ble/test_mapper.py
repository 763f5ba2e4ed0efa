from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

EXAMPLE = Path(__file__).parents[3] / "packaging" / "examples" / "bluetooth.yaml"


async def test_the_example(fleet_of_devices: Any, bluez: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bluez.address)
    fleet = fleet_of_devices
    bluez.tell("notify 6e08")
    bluez.tell("advertise 1027")
    for each in yaml.safe_load_all(EXAMPLE.read_text()):
        await fleet.apply(each)
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.devices().run)
        await fleet.until(lambda: fleet.condition("DesiredApplied", "kitchen") == ("True", "Applied", ""))
        await fleet.until(lambda: fleet.value("temperature", "kitchen") == "21.58")
        await fleet.until(lambda: fleet.value("temperature", "tag") == "50")
        await fleet.until(lambda: {fleet.status(name).state for name in ("kitchen", "tag")} == {"ok"})
        nursery.cancel_scope.cancel()
    assert bluez.tell("get") == "value 15"
