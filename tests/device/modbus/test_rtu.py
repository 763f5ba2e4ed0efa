"""RTU on a pseudo terminal whose far end is played here, byte by byte; other implementations are in test_session.py."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from edged.device.modbus.address import Network, Patience, Serial
from edged.device.modbus.frame import crc
from edged.device.modbus.pdu import RefusedError, SilentError, read
from edged.device.modbus.registers import HOLDING
from edged.device.modbus.rtu import RtuLine
from edged.errors import ProtocolError, UnreachableError

READ = read(HOLDING, 0, 1)
LONG, SHORT = Patience(30.0), Patience(0.1)
BAUD = 115200


def frame(unit: int, pdu: bytes) -> bytes:
    return bytes([unit]) + pdu + crc(bytes([unit]) + pdu)


GOOD = frame(1, b"\3\2\0\xd2")


class Far:
    """The units of a line: `answers` says what is sent to each request, in turn; the last one for ever."""

    def __init__(self, fd: int, answers: list[bytes]) -> None:
        self._fd, self._answers = fd, answers
        self.heard: list[bytes] = []
        self.asked = trio.Event()
        os.set_blocking(fd, False)

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            self.heard.append(os.read(self._fd, 300))
            self.asked.set()
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if answer:
                os.write(self._fd, answer)


@pytest.fixture
def played(terminal: Any, nursery: trio.Nursery) -> Callable[..., tuple[RtuLine, Far]]:
    def start(*answers: bytes) -> tuple[RtuLine, Far]:
        far = Far(terminal[0], list(answers))
        nursery.start_soon(far.run)
        return RtuLine(Serial(terminal[1], BAUD)), far

    return start


Played = Callable[..., tuple[RtuLine, Far]]


async def test_a_request_and_its_answer(played: Played) -> None:
    line, far = played(GOOD)
    for _ in range(3):
        assert await line.ask(1, READ, LONG) == b"\0\xd2"
    assert far.heard == [frame(1, b"\3\0\0\0\1")] * 3
    line.close()


async def test_a_damaged_frame_is_asked_for_again(played: Played) -> None:
    line, far = played(GOOD[:-1] + b"\0", b"\xff\xff", GOOD)
    assert await line.ask(1, READ, Patience(0.2, retries=2)) == b"\0\xd2"
    assert len(far.heard) == 3
    line.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (GOOD[:-1] + b"\0", "wrong checksum"),
        (frame(2, b"\3\2\0\xd2"), "unit 2, asked was 1"),
        (frame(1, b"\4\2\0\xd2"), "function 3 with function 4"),
        (frame(1, b"\3\4\0\xd2\0\0"), "4 bytes of data, asked were 2"),
        (GOOD + GOOD, "7 bytes more"),
        (b"\0" * 200, "unit 0"),
    ],
)
async def test_nonsense_harms_only_who_asked(played: Played, answer: bytes, said: str) -> None:
    line, _ = played(answer, frame(3, b"\3\2\0\7"))
    with pytest.raises(ProtocolError, match=said):
        await line.ask(1, READ, LONG)
    assert await line.ask(3, READ, LONG) == b"\0\7"
    line.close()


@pytest.mark.parametrize("size", range(len(GOOD)))
async def test_a_unit_that_stops_at_each_byte(played: Played, size: int) -> None:
    line, _ = played(GOOD[:size], frame(3, b"\3\2\0\7"))
    with pytest.raises(SilentError, match=r"does not answer within 0\.1 s" + (f", but for {size} bytes" if size else "$")):
        await line.ask(1, READ, SHORT)
    assert await line.ask(3, READ, LONG) == b"\0\7"
    line.close()


async def test_a_refusal_is_no_damage(played: Played) -> None:
    line, far = played(frame(1, b"\x83\2"), GOOD)
    with pytest.raises(RefusedError, match="illegal data address"):
        await line.ask(1, READ, Patience(30.0, retries=3))
    assert await line.ask(1, READ, LONG) == b"\0\xd2"
    assert len(far.heard) == 2
    line.close()


async def test_units_take_turns(played: Played) -> None:
    line, far = played(*(frame(unit, bytes([3, 2, 0, unit])) for unit in (1, 2, 3)))
    found: list[bytes] = []

    async def ask(unit: int) -> None:
        found.append(await line.ask(unit, READ, LONG))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, 3)
    assert found == [b"\0\1", b"\0\2", b"\0\3"]
    assert [each[0] for each in far.heard] == [1, 2, 3]
    line.close()


async def test_the_line_rests_between_frames(played: Played) -> None:
    line, _ = played(GOOD)
    await line.ask(1, READ, Patience(30.0, turnaround_s=0.05))
    began = trio.current_time()
    await line.ask(1, READ, LONG)
    assert trio.current_time() - began >= 0.05
    line.close()


async def test_who_was_cancelled_leaves_no_answer_to_others(played: Played) -> None:
    line, far = played(b"", GOOD + frame(3, b"\3\2\0\7"), frame(3, b"\3\2\0\7"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.ask, 1, READ, LONG)
        await far.asked.wait()
        os.write(far._fd, GOOD)  # the late answer comes when nobody waits any more
        nursery.cancel_scope.cancel()
    far._answers.pop(0)
    assert await line.ask(3, READ, LONG) == b"\0\7"
    line.close()


async def test_a_port_that_is_not_there_and_then_is(tmp_path: Any, terminal: Any, nursery: trio.Nursery) -> None:
    link = tmp_path / "port"
    line = RtuLine(Serial(str(link), BAUD))
    with pytest.raises(UnreachableError, match="cannot be opened: No such file or directory"):
        await line.connect()
    link.symlink_to(terminal[1])
    nursery.start_soon(Far(terminal[0], [GOOD]).run)
    assert await line.ask(1, READ, LONG) == b"\0\xd2"
    line.close()


Hostile = Callable[[Callable[[trio.SocketStream, bytes], Awaitable[None]]], Any]


async def test_a_converter_that_closes_at_each_byte(hostile: Hostile) -> None:
    sizes = list(range(len(GOOD)))

    async def cut(stream: trio.SocketStream, request: bytes) -> None:
        size = sizes.pop(0) if sizes else len(GOOD)
        await stream.send_all(GOOD[:size])
        if size < len(GOOD):
            await stream.aclose()

    async with hostile(cut) as port:
        line = RtuLine(Network("127.0.0.1", port, rtu=True))
        with pytest.raises(UnreachableError, match="closes the connection instead of an answer"):
            await line.ask(1, READ, LONG)
        for size in range(1, len(GOOD)):
            with pytest.raises(ProtocolError, match=f"after {size} bytes of an answer"):
                await line.ask(1, READ, LONG)
        assert await line.ask(1, READ, LONG) == b"\0\xd2"
        line.close()


async def test_a_converter_that_babbles_is_connected_anew(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.device.modbus.rtu.BABBLE_S", 0.1)
    babbled = False

    async def babble(stream: trio.SocketStream, request: bytes) -> None:
        nonlocal babbled
        while not babbled:
            await stream.send_all(b"\xff" * 20)
            await trio.sleep(0.001)
        await stream.send_all(GOOD)

    async with hostile(babble) as port:
        line = RtuLine(Network("127.0.0.1", port, rtu=True))
        with pytest.raises(ProtocolError, match="unit 255"):
            await line.ask(1, READ, LONG)
        with pytest.raises(UnreachableError, match="does not stop to send"):
            await line.ask(1, READ, LONG)
        babbled = True
        assert await line.ask(1, READ, LONG) == b"\0\xd2"
        line.close()
