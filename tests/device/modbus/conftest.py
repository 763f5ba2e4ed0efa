import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 30.0

# Servers of other implementations, each a program that prints where it listens and ends when its input does.
RTU_UNITS = """
import asyncio, sys
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

async def main():
    units = [SimDevice(n, simdata=[SimData(0, values=[100 * n + at for at in range(100)], datatype=DataType.REGISTERS)])
             for n in (1, 2, 3)]
    if len(sys.argv) > 1:
        server = ModbusSerialServer(units, framer=FramerType.RTU, port=sys.argv[1], baudrate=19200)
    else:
        server = ModbusTcpServer(units, framer=FramerType.RTU, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(0 if len(sys.argv) > 1 else server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(input)

asyncio.run(main())
"""
SECOND = """
import socket, sys
from pyModbusTCP.server import DataBank, ModbusServer
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
bank = DataBank(h_regs_size=200, i_regs_size=200, coils_size=200, d_inputs_size=200)
bank.set_holding_registers(0, list(range(200)))
bank.set_input_registers(0, [1000 + at for at in range(200)])
bank.set_discrete_inputs(0, [at % 3 == 0 for at in range(200)])
server = ModbusServer("127.0.0.1", port, no_block=True, data_bank=bank)
server.start()
print(port, flush=True)
input()
server.stop()
"""


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Starts one of the programs above; gives the port that it prints."""
    with ExitStack() as stack:

        def start(program: str, *arguments: str) -> int:
            argv = [sys.executable, "-W", "ignore", "-c", program, *arguments]
            process = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            stack.callback(process.communicate, "\n", PATIENCE_S)
            assert process.stdout is not None
            return int(process.stdout.readline())

        yield start


@pytest.fixture
def rtu_units() -> str:
    return RTU_UNITS


@pytest.fixture
def second() -> str:
    return SECOND


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The two ends of a serial cable, as socat makes one of two pseudo terminals."""
    ends = (tmp_path / "ours", tmp_path / "theirs")
    argv = ["socat", *(f"PTY,raw,echo=0,link={end}" for end in ends)]
    with subprocess.Popen(argv) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not all(end.exists() for end in ends):
            assert time.monotonic() < deadline, "socat makes no terminals"
            time.sleep(0.01)
        yield str(ends[0]), str(ends[1])
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo terminal: the descriptor of its far end, and the path of ours."""
    far, near = os.openpty()
    yield far, os.ttyname(near)
    os.close(near)
    os.close(far)


@pytest.fixture
def bank_of(bank: Any) -> Callable[[int], Any]:
    """A bank of so many registers, each holding its address."""
    return lambda size: bank(**{f"r{at}": at for at in range(size)})
