from typing import Any

import pytest

from edged.device.modbus.address import Address, Network, Patience, Serial, address
from edged.errors import InvalidError

TCP = Patience(3.0)
RTU = Patience(1.0, retries=1)


def test_modbus_tcp() -> None:
    assert address({"ip": "10.0.0.7"}) == Address(Network("10.0.0.7", 502), 1, TCP)
    assert address({"ip": "10.0.0.7", "port": "1502", "slaveID": "3"}) == Address(Network("10.0.0.7", 1502), 3, TCP)
    assert str(address({"ip": "fd00::7"})) == "[fd00::7]:502 unit 1"
    assert address({"ip": "x", "slaveID": 0}).unit == 0  # the server itself, not one of those behind it


def test_rtu_on_a_serial_line() -> None:
    sample = {"serialPort": "/dev/ttyS0", "baudRate": "9600", "dataBits": 8, "parity": "even", "stopBits": "1", "slaveID": 7}
    found = address(sample)
    assert found == Address(Serial("/dev/ttyS0", 9600, 8, "E", 1), 7, RTU)
    assert address({**sample, "rs485Enabled": True}).line == Serial("/dev/ttyS0", 9600, 8, "E", 1, rs485=True)
    assert str(found) == "/dev/ttyS0 (9600 8E1) unit 7"


def test_rtu_over_tcp() -> None:
    assert address({"ip": "10.0.0.7", "framing": "rtu"}) == Address(Network("10.0.0.7", 502, rtu=True), 1, RTU)


def test_the_silence_between_frames() -> None:
    assert Serial("/dev/x", 9600).gap_s == pytest.approx(3.5 * 11 / 9600)
    assert Serial("/dev/x", 115200).gap_s == 0.00175


def test_patience() -> None:
    found = address({"ip": "x", "timeout": 250, "retries": 2, "turnaround": "40", "maxGap": 0})
    assert (found.patience, found.max_gap) == (Patience(0.25, 2, 0.04), 0)


@pytest.mark.parametrize(
    ("config", "field", "said"),
    [
        ({}, "ip", "is missing: give ip, or serialPort"),
        ({"ip": ""}, "ip", "expected an IP address"),
        ({"ip": "x", "serialPort": "/dev/ttyS0"}, "ip", "not both"),
        ({"ip": "x", "slaveID": 256}, "slaveID", "from 0 to 255"),
        ({"ip": "x", "framing": "rtu", "slaveID": 0}, "slaveID", "from 1 to 247"),
        ({"ip": "x", "timeout": 0}, "timeout", "from 1 to 60000"),
        ({"serialPort": "1"}, "serialPort", "as /dev/ttyUSB0, got 1"),
        ({"serialPort": "/dev/x", "slaveID": 248}, "slaveID", "from 1 to 247"),
        ({"serialPort": "/dev/x", "baudRate": 9601}, "baudRate", "expected one of 1200, 2400"),
        ({"serialPort": "/dev/x", "dataBits": 7}, "dataBits", "expected 8"),
        ({"serialPort": "/dev/x", "parity": "mark"}, "parity", "none, even or odd, got mark"),
        ({"serialPort": "/dev/x", "stopBits": 3}, "stopBits", "from 1 to 2"),
        ({"ip": "x", "rs485Enabled": True}, "rs485Enabled", "is for a serialPort"),
        ({"serialPort": "/dev/x", "framing": "tcp"}, "framing", "speaks rtu"),
    ],
)
def test_a_wrong_address_names_its_field(config: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        address(config)
    assert [cause.field for cause in caught.value.causes] == [field]
    assert said in caught.value.causes[0].message
