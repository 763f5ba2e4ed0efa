"""`sim`: more of the schedules of tests/sim: `--seeds N`, from `--first SEED` on. The tests have tried those below 1000."""

import time
from collections.abc import Iterator

from build.fleet import FailedError
from tests.bench.figures import Figure
from tests.sim.run import run


def bench(first: int, seeds: int) -> Iterator[Figure]:
    """The figures; FailedError names each schedule that failed, by its seed: `--first SEED --seeds 1` replays it."""
    began = time.perf_counter()
    count, failed = run(first, seeds)
    if failed:
        raise FailedError("\n".join(failed))
    yield Figure("sim", "schedules", count, "schedules", note="target: none fails")
    yield Figure("sim", "schedule_ms", (time.perf_counter() - began) / count * 1000, "ms", note="target 180 at most")
