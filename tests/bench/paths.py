"""`paths`: how soon two nodes talk, by the relay and then directly, behind every kind of NAT; and what cuts and losses do.

One pair at a time in an Internet (build/internet.py), hubs alone: daemons are measured by `mesh`.
"""

import datetime
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from build.fleet import FailedError
from build.internet import Internet, Kind, Site
from build.lab import possible
from edged.identity.authority import Authority
from edged.identity.bundle import join
from tests.bench.figures import Figure
from tests.lab.grid import Grid, running

ROUNDS = 3
PAIRS: tuple[tuple[Kind, Kind], ...] = (
    ("open", "easy"),
    ("easy", "easy"),
    ("tracking", "tracking"),
    ("double", "easy"),
    ("six", "six"),
    ("hard", "easy"),
    ("hard", "tracking"),
    ("mapped", "mapped"),
    ("easy", "blocked"),
)
NEVER = "blocked"
SOON_S = 60.0  # for whatever is to happen; beyond it does not
DOWNLOAD_MB = 1000
FLOWING_S, CUT_S = 1.0, 10.0  # the direct path of the download: when it is cut, and for how long
LOSSY_MB, LOSS = 100, 10  # percent
A, B = "a", "b"


def bench() -> Iterator[Figure]:
    """The figures; root only."""
    if not possible():
        raise FailedError("this benchmark needs network namespaces: run it as root")
    for one, other in PAIRS:
        if "mapped" not in (one, other) or shutil.which("miniupnpd"):
            yield from meetings(one, other)
    yield from cut()
    yield from lossy()


def meetings(one: Kind, other: Kind) -> Iterator[Figure]:
    """From when both hubs run: the first byte there and back, and the direct path at both ends. Medians of ROUNDS."""
    first, direct = [], []
    for _ in range(ROUNDS):
        with pair(one, other) as (_, grid):
            first.append(reached(grid, lambda grid=grid: grid.met(A, B)))
            if NEVER not in (one, other):
                direct.append(reached(grid, lambda grid=grid: grid.direct(A, B)))
    for figure, seconds in (("first_byte", first), ("direct", direct)):
        if seconds:
            note = f"{min(seconds):.2f} to {max(seconds):.2f}"
            yield Figure("paths", f"{figure}_{one}_{other}_s", statistics.median(seconds), "s", note=note)


def cut() -> Iterator[Figure]:
    """A download whose direct path is cut and mended."""
    with pair("easy", "easy", {A: (B, DOWNLOAD_MB)}) as (internet, grid):
        reached(grid, lambda: grid.direct(A, B))
        time.sleep(FLOWING_S)
        internet.cut(A, B, off=True)
        began = time.monotonic()
        grid.wait(lambda: all(path.startswith("relay") for path in grid.paths.values()), SOON_S)
        yield Figure("paths", "leave_s", time.monotonic() - began, "s", note=f"both ends; then {grid.paths[A, B]}")
        time.sleep(CUT_S)
        internet.cut(A, B, off=False)
        began = time.monotonic()
        grid.wait(lambda: set(grid.paths.values()) == {"direct"}, SOON_S)
        yield Figure("paths", "back_direct_s", time.monotonic() - began, "s", note=f"after a cut of {CUT_S:.0f} s")
        yield Figure("paths", "cut_gap_s", fetched(grid, DOWNLOAD_MB)["gap_s"], "s", note="the longest wait for a piece of it")


def lossy() -> Iterator[Figure]:
    """A download while a part of all datagrams is lost."""
    with pair("easy", "easy", {A: (B, LOSSY_MB)}, loss=LOSS) as (_, grid):
        took = fetched(grid, LOSSY_MB)["took_s"]
        yield Figure("paths", f"loss_{LOSS}_mb_s", LOSSY_MB / took, "MB/s", note=f"{LOSSY_MB} MB, exact")


@contextmanager
def pair(
    one: Kind, other: Kind, fetch: Mapping[str, tuple[str, int]] | None = None, *, loss: int = 0
) -> Iterator[tuple[Internet, Grid]]:
    """Hubs A and B at two such sites."""
    with tempfile.TemporaryDirectory() as made, Internet(Site(one, (A,)), Site(other, (B,))) as internet:
        folder, now = Path(made), datetime.datetime.now(datetime.UTC)
        authority = Authority.create(folder / "authority", "bench", now)

        def state(node: str) -> Path:
            join(authority.issue(node, "site", [], now), folder / node)
            return folder / node

        internet.lose(loss)
        with running(internet, state, folder / "authority" / "authority.crt", fetch) as grid:
            yield internet, grid


def reached(grid: Grid, seconds: Callable[[], float | None]) -> float:
    """What it says as soon as it says something."""
    grid.wait(lambda: seconds() is not None, SOON_S)
    return seconds() or 0.0


def fetched(grid: Grid, megabytes: int) -> dict[str, float]:
    """What A says of its download in the end. FailedError when bytes are missing or wrong."""
    grid.wait(lambda: grid.last(A, B, "fetched") is not None, 10 * SOON_S)
    said = grid.last(A, B, "fetched") or {}
    if not said["exact"] or said["fetched"] != megabytes * 1_000_000:
        raise FailedError(f"the download was not exact: {said}")
    return said
