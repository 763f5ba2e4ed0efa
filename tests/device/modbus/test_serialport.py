import fcntl
import os
import termios
from typing import Any

import pytest
import trio

from edged.device.modbus.address import Serial
from edged.device.modbus.serialport import TIOCSRS485, SerialPort


async def test_it_is_raw_and_set_as_it_should_be(terminal: Any) -> None:
    far, path = terminal
    port = SerialPort(Serial(path, 19200, 8, "O", 2))
    incoming, outgoing, control, local, speed_in, speed_out, _ = termios.tcgetattr(far)
    assert (outgoing, local) == (0, 0)
    assert incoming == termios.INPCK
    assert control & termios.CSIZE == termios.CS8
    assert control & termios.CSTOPB
    assert control & termios.PARODD
    assert (speed_in, speed_out) == (termios.B19200, termios.B19200)
    everything = bytes(range(256))
    await port.send_all(everything)
    assert os.read(far, 512) == everything
    os.write(far, everything)
    assert await port.receive_some(512) == everything
    port.close()


async def test_it_waits_without_holding_up_others(terminal: Any) -> None:
    far, path = terminal
    port = SerialPort(Serial(path))
    heard = []

    async def listen() -> None:
        heard.append(await port.receive_some(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        assert heard == []
        os.write(far, b"\0")
    assert heard == [b"\0"]
    port.close()


async def test_nobody_else_has_it_meanwhile(terminal: Any) -> None:
    _, path = terminal
    port = SerialPort(Serial(path))
    with pytest.raises(OSError, match="another program, or by devices with other settings"):
        SerialPort(Serial(path, 19200))
    port.close()
    SerialPort(Serial(path, 19200)).close()


async def test_a_port_that_is_pulled_out() -> None:
    far, near = os.openpty()
    port = SerialPort(Serial(os.ttyname(near)))
    os.close(near)
    os.close(far)
    assert await port.receive_some(10) == b""
    with pytest.raises(trio.BrokenResourceError, match="the port is gone"):
        await port.send_all(b"\0")
    port.close()


async def test_a_driver_that_switches_no_directions_is_said(terminal: Any) -> None:
    _, path = terminal
    with pytest.raises(OSError, match=r"rs485Enabled: its driver does not switch directions \(Inappropriate ioctl"):
        SerialPort(Serial(path, rs485=True))
    SerialPort(Serial(path)).close()  # it holds nothing


async def test_a_driver_is_asked_to_switch_directions(terminal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver of this machine does it: what it would be asked is written down here."""
    _, path = terminal
    asked, real = [], fcntl.ioctl

    def ioctl(fd: int, request: int, argument: Any = 0) -> Any:
        if request == TIOCSRS485:
            asked.append(argument)
            return argument
        return real(fd, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    SerialPort(Serial(path, rs485=True)).close()
    assert asked == [b"\x03\0\0\0" + bytes(28)]  # SER_RS485_ENABLED, SER_RS485_RTS_ON_SEND


def test_what_is_no_serial_port(tmp_path: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="is no serial port"):
        SerialPort(Serial(str(tmp_path / "file")))
    with pytest.raises(FileNotFoundError):
        SerialPort(Serial(str(tmp_path / "none")))
