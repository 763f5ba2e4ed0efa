from pathlib import Path
from typing import Any

import pytest

from edged.device.mapper import Mappers
from edged.device.trial import trial
from edged.errors import UnreachableError


async def test_a_device_is_read_once(parts: Any, hostile: Any, bank: Any) -> None:
    registers = bank(r0=205, r1=999)
    registers.unreadable = {2}
    mappers = Mappers(Path())
    async with hostile(registers.answer) as port:
        device = parts.device(port=port, temperature={}, setpoint={}, serial={}, heating={"collectCycle": 1})
        rows, troubles = await trial(device, parts.model(), mappers.find)
    assert [row[:2] for row in rows] == [("temperature", "20.5"), ("setpoint", "99.9"), ("serial", "")]
    assert rows[1][3] == "over its maximum 30"
    assert rows[2][3]
    assert troubles == ["spec.properties[3].collectCycle: expected at least 10 ms, got 1"]
    assert registers.written == []


async def test_a_device_that_cannot_be_tried(parts: Any) -> None:
    mappers = Mappers(Path())
    assert await trial(parts.device(), None, mappers.find) == (
        [],
        ['spec.deviceModelRef.name: there is no DeviceModel "default/thermometer"'],
    )
    with pytest.raises(UnreachableError):
        await trial(parts.device(port=1), parts.model(), mappers.find)
