"""A serial port on a file descriptor that trio waits for. A shell."""

import contextlib
import errno
import fcntl
import os
import struct
import termios

import trio

from edged.device.modbus.address import Serial

TIOCSRS485 = 0x542F  # of x86 and ARM (linux/serial.h)
RS485 = struct.Struct("=3I20x")  # serial_rs485: flags, and ms of rest before and after a frame
ENABLED, RTS_ON_SEND = 1, 2  # RTS is high while it sends, as transceivers are wired
GONE = {errno.EIO, errno.ENXIO, errno.ENODEV}  # a port that was pulled out


class SerialPort:
    """Opens the port, raw, with the settings of `line`, for this program alone. OSError says what is wrong."""

    def __init__(self, line: Serial) -> None:
        self._fd = os.open(line.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._claim()
            self._set(line)
            if line.rs485:
                self._switch_direction()
        except BaseException:
            os.close(self._fd)
            raise

    def _claim(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = "is used by another program, or by devices with other settings"
            raise OSError(errno.EBUSY, text) from error

    def _set(self, line: Serial) -> None:
        speed: int = getattr(termios, f"B{line.baud}")
        control = termios.CS8 | termios.CREAD | termios.CLOCAL
        control |= {"N": 0, "E": termios.PARENB, "O": termios.PARENB | termios.PARODD}[line.parity]
        control |= termios.CSTOPB if line.stop_bits == 2 else 0
        checks = 0 if line.parity == "N" else termios.INPCK
        try:
            _, _, _, _, _, _, characters = termios.tcgetattr(self._fd)
            characters[termios.VMIN], characters[termios.VTIME] = 1, 0
            termios.tcsetattr(self._fd, termios.TCSANOW, [checks, 0, control, 0, speed, speed, characters])
            fcntl.ioctl(self._fd, termios.TIOCEXCL)
            termios.tcflush(self._fd, termios.TCIOFLUSH)
        except termios.error as error:
            raise OSError(error.args[0], f"is no serial port: {error.args[-1]}") from error

    def _switch_direction(self) -> None:
        try:
            fcntl.ioctl(self._fd, TIOCSRS485, RS485.pack(ENABLED | RTS_ON_SEND, 0, 0))
        except OSError as error:
            text = f"rs485Enabled: its driver does not switch directions ({error.strerror}); an adapter may do that by itself"
            raise OSError(error.errno, text) from error

    async def send_all(self, data: bytes) -> None:
        """Give all of it to the driver. BrokenResourceError when the port is gone."""
        await trio.lowlevel.checkpoint()
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._fd)
            except OSError as error:
                raise trio.BrokenResourceError(f"the port is gone: {error.strerror}") from error

    async def receive_some(self, max_bytes: int) -> bytes:
        """What came, at least one byte; b"" when the port is gone."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return os.read(self._fd, max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._fd)
            except OSError as error:
                if error.errno in GONE:
                    return b""
                raise trio.BrokenResourceError(f"the port cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Let others have it."""
        trio.lowlevel.notify_closing(self._fd)
        with contextlib.suppress(OSError):  # a port that is gone is nobody's
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        os.close(self._fd)
