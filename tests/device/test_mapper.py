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


async def test_the_loop_is_shared_and_ended_with_the_mappers() -> None:
    mappers = Mappers(Path())
    await mappers.aclose()  # nobody needed it

    async def answer() -> int:
        return 7

    assert mappers.aio is mappers.aio
    assert await mappers.aio.run(answer) == 7
    await mappers.aclose()
