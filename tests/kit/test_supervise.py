import io
import json
from functools import partial
from random import Random

import pytest
import trio
import trio.testing

from edged.errors import UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.kit.supervise import STEADY_S, supervise, supervise_service


async def test_an_outage_is_tried_again_and_said(autojump_clock: trio.testing.MockClock) -> None:
    out, runs = io.StringIO(), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            async with trio.open_nursery():
                raise UnreachableError("the broker is away")
        if runs == 3:
            await trio.sleep(STEADY_S + 1)
            raise UnreachableError("again")

    backoff = Backoff(1, 60, Random(1))
    await supervise(run, outages=(UnreachableError,), backoff=backoff, log=Log(stream=out))
    assert runs == 4
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["warning"] * 3
    assert lines[0]["message"].startswith("the broker is away; retrying in ")
    assert float(lines[2]["message"].split()[-2]) <= 1  # it had run steadily: from the first delay again


async def test_a_bug_is_no_outage() -> None:
    async def run() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await supervise(run, outages=(UnreachableError,), backoff=Backoff(1, 2, Random(1)), log=Log(stream=io.StringIO()))


@pytest.mark.parametrize("away", [False, True])
async def test_it_is_waited_for_up_to_its_first_outage(autojump_clock: trio.testing.MockClock, away: bool) -> None:
    out, runs = io.StringIO(), 0

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal runs
        runs += 1
        await trio.sleep(5)
        if away and runs == 1:
            raise UnreachableError("the port is taken")
        task_status.started()
        await trio.sleep(5)
        raise UnreachableError("it went")

    service = partial(
        supervise_service, run, outages=(UnreachableError,), backoff=Backoff(1, 2, Random(1)), log=Log(stream=out)
    )
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        await nursery.start(service)
        assert trio.current_time() - began == 5
        assert ("the port is taken" in out.getvalue()) is away
        await trio.sleep(30)  # it is ready again and again, and nobody is told twice
        nursery.cancel_scope.cancel()
    assert runs > 2
