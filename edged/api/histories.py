"""`GET .../devices/NAME/history`: a device may have been served by any node of its group, so all are asked. A shell."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

import msgspec
import trio

from edged.api.exchange import ByteStream
from edged.errors import EdgedError, ProtocolError, UnreachableError
from edged.wire.peer import DeviceHistory

AT_ONCE = 4  # nodes: with what each may answer this bounds the memory that one question takes
MAX_ANSWER = 8 << 20  # bytes of a node's answer: 10,000 long texts; numbers take a tenth
GATHER_S = 10.0  # for all answers: as long as a link may take

Open = Callable[[DeviceHistory, str], Awaitable[ByteStream]]


class Gathered(NamedTuple):
    """Readings, a line of JSON each, and why those of some nodes are not among them."""

    lines: bytes
    missing: dict[str, str]


class _Line(NamedTuple):
    time: int
    text: bytes


class _Timed(msgspec.Struct):
    time: int


_TIMED = msgspec.json.Decoder(_Timed)


async def gathered(open_device: Open, asked: DeviceHistory, nodes: Sequence[str]) -> Gathered:
    """The newest `asked.limit` of what `nodes` have; those of one node in its order, of several by time.

    UnreachableError when none of them answers.
    """
    found: list[_Line] = []
    missing = dict.fromkeys(nodes, f"no answer within {GATHER_S:g} s")
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def ask(node: str) -> None:
        nonlocal found
        async with limiter:
            try:
                said = await _lines(await open_device(asked, node))
            except EdgedError as error:
                missing[node] = str(error)
                return
        del missing[node]
        merged = sorted(found + said, key=lambda line: line.time) if found and said else found or said
        found = merged[max(0, len(merged) - asked.limit) :]

    with trio.move_on_after(GATHER_S):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(ask, node)
    if len(missing) == len(nodes):
        raise UnreachableError("; ".join(dict.fromkeys(missing.values())))
    return Gathered(b"".join(each.text for each in found), missing)


async def _lines(answer: ByteStream) -> list[_Line]:
    """The lines of an answer. ProtocolError: they are none, broke off, or are too many."""
    text = bytearray()
    async with aclosing(answer):
        async for piece in answer:
            text += piece
            if len(text) > MAX_ANSWER:
                raise ProtocolError(f"more than {MAX_ANSWER >> 20} MB of readings: ask for fewer")
    if text and not text.endswith(b"\n"):
        raise ProtocolError("the answer broke off")
    try:
        return [_Line(_TIMED.decode(line).time, line) for line in bytes(text).splitlines(keepends=True)]
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the answer is not understood: {error}") from error
