"""The benchmarks run and print their figures; what the figures are is not asserted on a machine that others use too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.figures import Figure

ROOT = Path(__file__).parents[2]


def figures(name: str) -> dict[str, dict[str, float]]:
    return printed([ROOT / "build" / "bench", name, "--json"], name)


def printed(argv: list[str | Path], bench: str) -> dict[str, dict[str, float]]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line["bench"] == bench and line["unit"] for line in lines)
    return {line["figure"]: line for line in lines}


def small(part: str, **sizes: object) -> dict[str, dict[str, float]]:
    """A part of `sync` with other constants, as a program of its own: it ends every process that it leaves behind."""
    changes = "; ".join(f"{part}.{name} = {value!r}" for name, value in sizes.items())
    program = f"from tests.bench import {part}; {changes}; [print(figure.json()) for figure in {part}.bench()]"
    return printed([sys.executable, "-c", program], "sync")


def test_a_figure_is_one_json_line() -> None:
    line = json.loads(Figure("call", "stream_mb_s", 65.94321, "MB/s", 1842.4, "path lan").json())
    assert line == {
        "bench": "call", "figure": "stream_mb_s", "value": 65.94, "unit": "MB/s",
        "against": 1842.0, "ratio": 0.03579, "note": "path lan",
    }  # fmt: skip


@pytest.mark.root
@pytest.mark.tool("nft")
def test_start() -> None:
    assert 0 < figures("start")["ready_s"]["value"] < 30


@pytest.mark.root
@pytest.mark.tool("nft")
def test_call() -> None:
    found = figures("call")
    assert set(found) == {"stream_mb_s", "rtt_p50_us", "rtt_p99_us"}
    assert all(line["value"] > 0 and line["against"] > 0 and line["ratio"] > 0 for line in found.values())


def test_reach() -> None:
    found = small("reach", GROUPS=(3,), WRITES=6, WARM_UP=2, IDLE_S=0.2, CPU_S=0.2, CPU_NODES=3)
    assert set(found) == {"reach_3_p99_ms", "bytes_per_write", "idle_cpu_3_s_per_min"}
    assert found["bytes_per_write"]["value"] > 1000


def test_join() -> None:
    found = small("join", JOINED=300, CHANGES=300, API_WRITES=40, SETTLE_S=0.2)
    assert set(found) == {"join_10k_s", "join_10k_rss_mb", "merge_100k_s", "merge_100k_rss_mb", "api_writes_per_s"}
