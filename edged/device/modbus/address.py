"""A device's configData into where it is: its line, its unit there, and how much time it takes."""

from typing import Annotated, Literal, NamedTuple

import msgspec

from edged.device.configdata import convert, invalid
from edged.device.modbus.blocks import MAX_GAP
from edged.errors import Cause
from edged.model.meta import JSON

CHARACTER_BITS = 11  # on a serial line: a start bit, 8 of data, parity, a stop bit (or two without parity)
GAP_CHARACTERS = 3.5  # of silence between frames (Modbus over Serial Line 1.02, section 2.5.1.1)
LEAST_GAP_S = 0.00175  # above 19,200 baud (the same section)
TCP_TIMEOUT_MS, RTU_TIMEOUT_MS = 3000, 1000  # over a radio link an answer takes 2 s; a serial line is held up by who is silent
RTU_RETRIES = 1  # a frame may be damaged on a serial line; over TCP none is
MAX_TIMEOUT_MS = 60_000
MAX_RETRIES = 10
BAUD_RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
PARITIES = {"none": "N", "even": "E", "odd": "O", "n": "N", "e": "E", "o": "O"}
MAX_UNIT = 247  # on a serial line; 0 speaks to all, and nobody answers

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMEOUT_MS)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`spec.protocol.configData` of a device, with KubeEdge's names; from `framing` on they are ours.

    `ip` and `port` for Modbus TCP, and with `framing: rtu` for RTU over TCP; `serialPort` (a path) for RTU on a serial line.
    `timeout` and `turnaround` are in milliseconds: how long an answer may take, and a pause on the line after each answer,
    for devices that need one. `maxGap` is how many registers nobody asked for may be read to join two reads in one.
    """

    ip: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 502
    slave_id: Annotated[int, msgspec.Meta(ge=0, le=255)] = msgspec.field(name="slaveID", default=1)
    serial_port: str = ""
    baud_rate: int = 9600
    data_bits: int = 8
    parity: str = "none"
    stop_bits: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1
    rs485_enabled: bool = False
    framing: Literal["tcp", "rtu"] | None = None
    timeout: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_MS)] | None = None
    retries: Annotated[int, msgspec.Meta(ge=0, le=MAX_RETRIES)] | None = None
    turnaround: Milliseconds = 0
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=100)] = MAX_GAP


class Network(NamedTuple):
    """A line behind a TCP port; with `rtu` its frames are RTU's."""

    ip: str
    port: int
    rtu: bool = False

    def __str__(self) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{host}:{self.port}"


class Serial(NamedTuple):
    """A serial line. `parity` is N, E or O; with `rs485` the driver has the transceiver send only while there is a frame."""

    path: str
    baud: int = 9600
    data_bits: int = 8
    parity: str = "N"
    stop_bits: int = 1
    rs485: bool = False

    def __str__(self) -> str:
        return f"{self.path} ({self.baud} {self.data_bits}{self.parity}{self.stop_bits})"

    @property
    def character_s(self) -> float:
        """What one byte takes."""
        return CHARACTER_BITS / self.baud

    @property
    def gap_s(self) -> float:
        """The silence between two frames."""
        return max(LEAST_GAP_S, GAP_CHARACTERS * self.character_s)


class Patience(NamedTuple):
    """How long an answer may take, how often it is asked for again, how long the line rests after it."""

    timeout_s: float
    retries: int = 0
    turnaround_s: float = 0.0


class Address(NamedTuple):
    """A unit on its line."""

    line: Network | Serial
    unit: int
    patience: Patience
    max_gap: int = MAX_GAP

    def __str__(self) -> str:
        return f"{self.line} unit {self.unit}"


def address(config: JSON) -> Address:
    """Where a device is. InvalidError names every field that is wrong."""
    given = convert(config, Config)
    causes = [Cause(field, "FieldValueInvalid", text) for field, text in _mistakes(given)]
    if not given.ip and not given.serial_port:
        text = "expected an IP address or a host name" if "ip" in config else "is missing: give ip, or serialPort"
        causes.insert(0, Cause("ip", "FieldValueRequired", text))
    if causes:
        raise invalid(causes)
    rtu = bool(given.serial_port) or given.framing == "rtu"
    timeout_ms = given.timeout or (RTU_TIMEOUT_MS if rtu else TCP_TIMEOUT_MS)
    retries = (RTU_RETRIES if rtu else 0) if given.retries is None else given.retries
    patience = Patience(timeout_ms / 1000, retries, given.turnaround / 1000)
    line: Network | Serial = Network(given.ip, given.port, rtu)
    if given.serial_port:
        parity = PARITIES[given.parity.lower()]
        line = Serial(given.serial_port, given.baud_rate, given.data_bits, parity, given.stop_bits, given.rs485_enabled)
    return Address(line, given.slave_id, patience, given.max_gap)


def _mistakes(given: Config) -> list[tuple[str, str]]:
    found = []
    if given.serial_port:
        if given.ip:
            found.append(("ip", "give ip or serialPort, not both"))
        if not given.serial_port.startswith("/"):
            found.append(("serialPort", f"expected the path of a device, as /dev/ttyUSB0, got {given.serial_port}"))
        if given.baud_rate not in BAUD_RATES:
            found.append(("baudRate", f"expected one of {', '.join(map(str, BAUD_RATES))}, got {given.baud_rate}"))
        if given.data_bits != 8:
            found.append(("dataBits", f"expected 8, as Modbus RTU sends bytes, got {given.data_bits}"))
        if given.parity.lower() not in PARITIES:
            found.append(("parity", f"expected none, even or odd, got {given.parity}"))
        if given.framing == "tcp":
            found.append(("framing", "a serial line speaks rtu"))
    elif given.rs485_enabled:
        found.append(("rs485Enabled", "is for a serialPort"))
    if (given.serial_port or given.framing == "rtu") and not 1 <= given.slave_id <= MAX_UNIT:
        found.append(("slaveID", f"expected a whole number from 1 to {MAX_UNIT}, got {given.slave_id}"))
    return found
