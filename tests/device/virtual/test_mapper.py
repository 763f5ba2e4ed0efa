from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from edged.device.mapper import Mappers, PropertyError, Sample
from edged.device.virtual import mapper as virtual
from edged.errors import InvalidError


async def test_a_device_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapper = Mappers(tmp_path).find("virtual")
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "day.csv").write_text("time,flow\n1,4.5\n2,5\n")
    points: list[Any] = [
        mapper.point("INT", {"kind": "counter"}),
        mapper.point("STRING", {"kind": "constant", "value": "idle"}),
        mapper.point("FLOAT", {"kind": "replay", "file": "day.csv", "column": "flow"}),
        mapper.point("FLOAT", {"kind": "replay", "file": "day.csv", "column": "heat"}),
        mapper.point("FLOAT", {"kind": "replay", "file": "night.csv", "column": "flow"}),
    ]
    session = await mapper.connect(mapper.address({}))
    found = await session.read(points)
    assert found[:3] == [Sample(Decimal(0)), Sample("idle"), Sample(Decimal("4.5"))]
    assert [str(each) for each in found[3:]] == [
        f'{tmp_path}/replay/day.csv has no column "heat", only time, flow',
        f"{tmp_path}/replay/night.csv: No such file or directory",
    ]
    await session.write(points[1], "busy")
    assert (await session.read(points[:3])) == [Sample(Decimal(1)), Sample("busy"), Sample(Decimal(5))]
    await session.aclose()
    monkeypatch.setattr(virtual, "MAX_FILE", 10)
    again = await mapper.connect(mapper.address({}))
    (refused,) = await again.read(points[2:3])
    assert isinstance(refused, PropertyError)
    assert "larger than 10 bytes" in str(refused)


EXAMPLE = Path(__file__).parents[3] / "packaging" / "examples" / "virtual.yaml"


async def test_the_example(fleet_of_devices: Any) -> None:
    fleet = fleet_of_devices
    for each in yaml.safe_load_all(EXAMPLE.read_text()):
        await fleet.apply(each)
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.devices().run)
        await fleet.until(lambda: fleet.condition("DesiredApplied", "boiler") == ("True", "Applied", ""))
        await fleet.until(lambda: fleet.status("boiler").state == "ok")
        assert fleet.value("setpoint", "boiler") == "65"
        nursery.cancel_scope.cancel()


def test_it_is_nowhere() -> None:
    with pytest.raises(InvalidError, match="ip: is unknown"):
        Mappers(Path()).find("virtual").address({"ip": "10.0.0.1"})
