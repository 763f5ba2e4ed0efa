import subprocess
import sys

import pytest

from edged.device.mapper import mapper_for
from edged.device.modbus import MAPPER
from edged.errors import InvalidError


def test_both_names_of_modbus() -> None:
    assert mapper_for("modbus-tcp") is MAPPER
    assert mapper_for("modbus") is MAPPER


@pytest.mark.parametrize("name", ["", "modbus-rtu", "os", "edged.device.modbus"])
def test_an_unknown_protocol_names_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidError, match="expected one of modbus, modbus-tcp"):
        mapper_for(name)


def test_nothing_is_loaded_before_a_device_needs_it() -> None:
    program = "import sys, edged.device.worker; print([name for name in sys.modules if 'pymodbus' in name])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
