import functools
import io
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from edged.device.alarms import TakeAlarm, Turn
from edged.device.mapper import Mappers
from edged.device.readings import Reading
from edged.device.reporter import Outlets
from edged.device.worker import Devices
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.model.core import Event
from edged.model.devices import Device, DeviceModel, DeviceStatus
from edged.model.objects import dump, key, typed
from edged.store.events import Recorder
from edged.store.store import Store, open_store
from edged.store.writes import Create, Put
from tests.device.broker import Mosquitto

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0

MODEL: dict[str, Any] = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "DeviceModel",
    "metadata": {"name": "thermometer", "namespace": "default"},
    "spec": {
        "properties": [
            {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly"},
            {"name": "setpoint", "type": "FLOAT", "accessMode": "ReadWrite", "minimum": "5", "maximum": "30"},
            {"name": "heating", "type": "BOOLEAN", "accessMode": "ReadWrite"},
            {"name": "serial", "type": "STRING", "accessMode": "ReadOnly"},
        ]
    },
}


def visitor(offset: int, **more: Any) -> dict[str, Any]:
    config = {"register": "HoldingRegister", "offset": offset, "scale": 0.1, **more}
    return {"protocolName": "modbus-tcp", "configData": config}


def device(
    name: str = "thermometer",
    port: int = 1502,
    node: str = "gw-a",
    protocol: dict[str, Any] | None = None,
    **properties: dict[str, Any],
) -> dict[str, Any]:
    """A Device in JSON; `properties` by name, merged over a visitor of holding register 0, 1, …"""
    properties = properties or {"temperature": {}, "setpoint": {}}
    return {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "deviceModelRef": {"name": "thermometer"},
            "nodeName": node,
            "protocol": {"protocolName": "modbus-tcp", "configData": {"ip": "127.0.0.1", "port": port}, **(protocol or {})},
            "properties": [
                {"name": each, "visitors": visitor(index), "reportCycle": 100, "collectCycle": 100, **more}
                for index, (each, more) in enumerate(properties.items())
            ],
        },
    }


class Parts:
    """Makes typed objects from JSON."""

    MODEL = MODEL
    visitor = staticmethod(visitor)
    device_json = staticmethod(device)

    @staticmethod
    def model(change: Callable[[dict[str, Any]], None] = lambda model: None) -> DeviceModel:
        value = json.loads(json.dumps(MODEL))
        change(value)
        return msgspec.convert(value, DeviceModel)

    @staticmethod
    def device(**arguments: Any) -> Device:
        return msgspec.convert(device(**arguments), Device)


@pytest.fixture(scope="session")
def parts() -> type[Parts]:
    return Parts


class Fleet:
    """A store with devices in it, as one node sees it."""

    def __init__(self, store: Store, state_dir: Path) -> None:
        self.store = store
        self.mappers = Mappers(state_dir)
        self.log = io.StringIO()
        self.readings: list[tuple[str, Reading]] = []
        self.turns: list[tuple[str, bool]] = []
        self._uids = itertools.count(1)

    def devices(
        self,
        node: str = "gw-a",
        listed: Callable[[Sequence[Device]], None] = lambda devices: None,
        take_alarm: TakeAlarm | None = None,
    ) -> Devices:
        outlets = Outlets(self.store, self.take, take_alarm or self.take_alarm, self.recorder(node))
        return Devices(outlets, node, time.time, random.Random(7), Log(stream=self.log), self.mappers, listed)

    def recorder(self, node: str = "gw-a") -> Recorder:
        return Recorder(self.store, "edged-device", node, time.time, Log(stream=self.log))

    def events(self) -> list[tuple[str, str, str]]:
        found = [typed(each, Event) for each in self.store.list("events")]
        return sorted((each.type, each.reason, each.message) for each in found)

    def take(self, namespace: str, name: str, readings: Sequence[Reading]) -> None:
        self.readings += [(f"{namespace}/{name}", each) for each in readings]

    def take_alarm(self, namespace: str, name: str, of: str, turn: Turn) -> None:
        self.turns.append((f"{namespace}/{name}.{of}.{turn.limit.name}", turn.on))

    async def apply(self, value: dict[str, Any]) -> None:
        kind = Device if value["kind"] == "Device" else DeviceModel
        name = key(kind, value["metadata"]["name"], "default")
        if self.store.get(name) is None:
            await self.store.write(Create(name, f"uid-{next(self._uids)}", dump(value)))
        else:
            await self.store.write(Put(name, dump(value)))

    def status(self, name: str = "thermometer") -> DeviceStatus:
        found = self.store.get(key(Device, name, "default"))
        assert found is not None
        return typed(found, Device).status

    def value(self, name: str, of: str = "thermometer") -> str:
        return next((twin.reported.value for twin in self.status(of).twins if twin.property_name == name), "")

    def condition(self, type_: str, of: str = "thermometer") -> tuple[str, str, str]:
        found = next((each for each in self.status(of).conditions if each.type == type_), None)
        return ("", "", "") if found is None else (found.status, found.reason, found.message)

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait until the store says so."""
        with trio.move_on_after(PATIENCE_S):
            while True:
                seen = self.store.revision
                if what():
                    return
                await self.store.changed(seen)
        raise AssertionError(f"not in {PATIENCE_S:g} s: {self.store.list('devices.devices.kubeedge.io')} {self.log.getvalue()}")


@pytest.fixture
async def fleet_of_devices(tmp_path: Path) -> AsyncIterator[Fleet]:
    numbers = itertools.count(1)
    async with open_store(":memory:", origin="gw-a", stamp=lambda: next(numbers) << 16, executor=Inline()) as store:
        made = Fleet(store, tmp_path)
        await made.apply(MODEL)
        yield made


class Thermometer:
    """The real Modbus server, in a process of its own."""

    def __init__(self, port: int = 0) -> None:
        argv = [sys.executable, str(ROOT / "build" / "modbus-server"), "--port", str(port)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        first = self.process.stdout.readline().split()
        assert first[:2] == ["listening", "on"], first
        self.port = int(first[3])
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reader.start()

    def _read(self, stdout: Any) -> None:
        for line in stdout:
            self.lines.append(line.strip())

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def thermometers() -> Iterator[Callable[..., Thermometer]]:
    running: list[Thermometer] = []

    def start(port: int = 0) -> Thermometer:
        running.append(Thermometer(port))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.stop()


Answer = Callable[[trio.SocketStream, bytes], Awaitable[None]]


@pytest.fixture
def hostile() -> Callable[[Answer], Any]:
    """`async with hostile(answer) as port`: a TCP server that does `answer(stream, request)` for each request."""

    @asynccontextmanager
    async def serve(answer: Answer) -> AsyncIterator[int]:
        async def talk(stream: trio.SocketStream) -> None:
            try:
                async with stream:
                    while request := await stream.receive_some(300):
                        await answer(stream, request)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(functools.partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()

    return serve


BLOCKS = """
import asyncio
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

async def main():
    bits = lambda on: [SimData(0, values=[on and n == 3 for n in range(16)], datatype=DataType.BITS)]
    words = lambda first: [SimData(0, values=[first + n for n in range(9)], datatype=DataType.REGISTERS)]
    server = ModbusTcpServer(SimDevice(0, simdata=(bits(False), bits(True), words(0), words(30))), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(input)

asyncio.run(main())
"""


@pytest.fixture
def modbus_blocks() -> Iterator[int]:
    """The port of a real Modbus server with coils, discrete inputs (3 is on), holding registers, input registers (3 is 33)."""
    with subprocess.Popen([sys.executable, "-c", BLOCKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("\n", PATIENCE_S)


class Bank:
    """Holding registers that answer by the book; `requests` counts, `asked_for` has every PDU.

    `unreadable` addresses answer reads with exception 2, `silent` ones nothing; functions of `lacks` exception 1.
    """

    def __init__(self, **registers: int) -> None:
        self.registers = {int(name[1:]): value for name, value in registers.items()}
        self.unreadable: set[int] = set()
        self.silent: set[int] = set()
        self.lacks: set[int] = set()
        self.requests = 0
        self.asked_for: list[bytes] = []
        self._asked = trio.Event()
        self.written: list[int] = []

    async def asked(self, times: int) -> None:
        """Wait for so many more requests."""
        end = self.requests + times
        with trio.fail_after(PATIENCE_S):
            while self.requests < end:
                self._asked = trio.Event()
                await self._asked.wait()

    async def answer(self, stream: trio.SocketStream, request: bytes) -> None:
        """One request of Modbus TCP."""
        self.requests += 1
        self._asked.set()
        pdu = self.pdu(request[7:])
        if pdu:
            await stream.send_all(request[:4] + (1 + len(pdu)).to_bytes(2, "big") + request[6:7] + pdu)

    def pdu(self, asked: bytes) -> bytes:
        """What is answered; nothing for silence."""
        self.asked_for.append(asked)
        function, address, word = asked[0], int.from_bytes(asked[1:3], "big"), int.from_bytes(asked[3:5], "big")
        places = range(address, address + (word if function in {3, 16} else 1))
        if self.silent & set(places):
            return b""
        if function in self.lacks:
            return bytes([0x80 | function, 1])
        if function == 3:
            if not set(places) <= set(self.registers) - self.unreadable:
                return b"\x83\2"
            data = b"".join(self.registers[each].to_bytes(2, "big") for each in places)
            return b"\x03" + bytes([len(data)]) + data
        if function == 22:
            self._write(address, self.registers[address] & word | int.from_bytes(asked[5:7], "big"))
        for at, each in enumerate(places if function in {6, 16} else ()):
            self._write(each, word if function == 6 else int.from_bytes(asked[6 + 2 * at : 8 + 2 * at], "big"))
        return asked[:5] if function == 16 else asked

    def _write(self, address: int, value: int) -> None:
        self.registers[address] = value
        self.written.append(value)


@pytest.fixture
def bank() -> type[Bank]:
    return Bank


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A real broker that all tests share: use topics of your own. Mark the test `tool("mosquitto")`."""
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """`own_mosquitto(lines of its configuration…)`: a broker of one's own, to be stopped and started."""
    with ExitStack() as running:
        yield lambda *lines: running.enter_context(Mosquitto(tmp_path, lines))
