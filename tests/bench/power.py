"""`power`: the power cuts of tests/store/test_power.py, more of them: POWER_SEEDS (default 100) times CUTS."""

import os
import time
from collections.abc import Iterator

from build.fleet import FailedError
from tests.bench.figures import Figure
from tests.store.powercut import chain

CUTS = 500  # a seed
FIRST_SEED = 1000  # the tests have tried those below


def bench() -> Iterator[Figure]:
    """The figures; FailedError names each cut that lost or damaged something, or whose file did not open."""
    seeds = int(os.environ.get("POWER_SEEDS", "100"))
    began = time.perf_counter()
    cuts, wrong = 0, []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        done, found = chain(str(seed), CUTS)
        cuts, wrong = cuts + done, wrong + found
    if wrong:
        raise FailedError("\n".join(f"{found.seed}: {found.problem}" for found in wrong))
    yield Figure("power", "cuts", cuts, "cuts", note="target: none loses what was committed, none damages the file")
    yield Figure("power", "wrong", len(wrong), "cuts")
    yield Figure("power", "cut_ms", (time.perf_counter() - began) / cuts * 1000, "ms", note="to cut, open, read and compare")
