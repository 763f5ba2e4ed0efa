"""Many meters in one process: `python -m tests.bench.modbus_units COUNT`. What `device_modbus` polls.

Each has a port of its own and registers that are different in each answer: the first four say when it was made
(CLOCK_MONOTONIC, microseconds). The ports come as one line of JSON; on the end of its input the times of all requests do, a
list a meter.
"""

import asyncio
import json
import struct
import sys
import time

REGISTERS = 100
HEADER = struct.Struct(">HHHBBHH")  # transaction, protocol, length, unit, function, first, count


class Meter(asyncio.Protocol):
    """One connection to a meter; `asked` has the time of each request, of all its connections."""

    def __init__(self, asked: list[float]) -> None:
        self._asked = asked
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            now = time.monotonic()
            transaction, _, _, unit, function, first, count = HEADER.unpack_from(self._buffer)
            self._buffer = self._buffer[HEADER.size :]
            words = struct.pack(">Q", int(now * 1e6))
            words += struct.pack(f">{REGISTERS - 4}H", *range(len(self._asked), len(self._asked) + REGISTERS - 4))
            data = words[2 * first : 2 * (first + count)]
            answer = struct.pack(">HHHBBB", transaction, 0, 3 + len(data), unit, function, len(data)) + data
            self._transport.write(answer)  # type: ignore[attr-defined]
            self._asked.append(now)


def say(what: object) -> None:
    """A line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(count: int) -> None:
    loop = asyncio.get_running_loop()
    asked: list[list[float]] = [[] for _ in range(count)]
    servers = [await loop.create_server(lambda each=each: Meter(each), "127.0.0.1", 0) for each in asked]  # type: ignore[misc]
    say([server.sockets[0].getsockname()[1] for server in servers])
    await loop.run_in_executor(None, sys.stdin.read)
    say(asked)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
