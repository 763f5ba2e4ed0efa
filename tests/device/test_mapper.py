import subprocess
import sys
from pathlib import Path

import pytest

from edged.device.mapper import Mappers
from edged.errors import InvalidError


def test_a_mapper_is_made_once() -> None:
    mappers = Mappers(Path())
    assert mappers.find("modbus") is mappers.find("modbus-tcp") is mappers.find("modbus-rtu")
    assert mappers.find("virtual") is mappers.find("virtual")
    assert mappers.find("modbus") is not Mappers(Path()).find("modbus")


@pytest.mark.parametrize("name", ["", "modbus-udp", "os", "edged.device.modbus"])
def test_an_unknown_protocol_names_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidError, match=r"expected one of .*modbus, modbus-rtu, modbus-tcp"):
        Mappers(Path()).find(name)


def test_nothing_is_loaded_before_a_device_needs_it() -> None:
    program = """
import sys, edged.device.worker
print([name for name in sys.modules if name.startswith(("asyncio", "asyncua", "bleak", "edged.device.modbus"))])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


async def test_the_loop_is_shared_and_ended_with_the_mappers() -> None:
    mappers = Mappers(Path())
    await mappers.aclose()  # nobody needed it

    async def answer() -> int:
        return 7

    assert mappers.aio is mappers.aio
    assert await mappers.aio.run(answer) == 7
    await mappers.aclose()
