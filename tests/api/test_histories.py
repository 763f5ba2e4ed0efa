from collections.abc import AsyncGenerator, Mapping

import pytest
import trio

from edged.api.histories import GATHER_S, MAX_ANSWER, Gathered, gathered
from edged.errors import UnreachableError
from edged.wire.peer import DeviceHistory


def line(time: int, value: str = "") -> bytes:
    return b'{"time":%d,"value":"%s"}\n' % (time, value.encode())


async def gather(answers: Mapping[str, bytes | UnreachableError | None], limit: int = 10) -> Gathered:
    """What is gathered from nodes that answer so; None: with nothing, ever."""

    async def open_device(asked: DeviceHistory, node: str) -> AsyncGenerator[bytes, None]:
        answer = answers[node]
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, UnreachableError):
            raise answer
        return pieces(answer)

    async def pieces(answer: bytes) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(answer), 1 << 16):
            yield answer[at : at + (1 << 16)]

    return await gathered(open_device, DeviceHistory("default", "pump", "", 0, 99, limit), sorted(answers))


async def test_readings_of_several_nodes_are_in_order_of_time() -> None:
    answers = {"gw-a": line(1) + line(4) + line(9), "gw-b": line(2) + line(3), "gw-c": b""}
    assert await gather(answers) == (b"".join(map(line, (1, 2, 3, 4, 9))), {})
    assert await gather(answers, limit=2) == (line(4) + line(9), {})
    assert await gather(answers, limit=0) == (b"", {})


async def test_those_of_one_node_stay_in_the_order_in_which_they_came() -> None:
    assert (await gather({"gw-a": line(5, "late") + line(4, "of a slow clock"), "gw-b": b""})).lines.startswith(line(5, "late"))


async def test_who_does_not_answer_is_named(autojump_clock: trio.testing.MockClock) -> None:
    away = UnreachableError("no link to node gw-b")
    found = await gather({"gw-a": line(1), "gw-b": away, "gw-c": None, **{f"gw-{n}": line(2) for n in range(20)}}, limit=1)
    assert found == (line(2), {"gw-b": str(away), "gw-c": f"no answer within {GATHER_S:g} s"})
    assert trio.current_time() <= GATHER_S
    with pytest.raises(UnreachableError, match="no link to node gw-b; no answer within 10 s"):
        await gather({"gw-b": away, "gw-c": None})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (line(1)[:-1], "broke off"),
        (line(1) + line(2)[:-9] + b"\n", "not understood"),
        (b'{"time":"noon"}\n', "not understood"),
        (b"\n" + line(1), "not understood"),
        (b"[" * 5000 + b"\n", "not understood"),
        (line(1, "x" * 1000) * (MAX_ANSWER // 1000), "more than 8 MB of readings: ask for fewer"),
    ],
)
async def test_an_answer_that_is_none(answer: bytes, why: str) -> None:
    found = await gather({"gw-a": line(7), "gw-b": answer})
    assert found.lines == line(7)
    assert why in found.missing["gw-b"]
