"""The benchmarks run and print their figures; what the figures are is not asserted on a machine that others use too."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.bench.figures import Figure

ROOT = Path(__file__).parents[2]


def figures(name: str) -> dict[str, dict[str, float]]:
    argv = [ROOT / "build" / "bench", name, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line["bench"] == name and line["unit"] for line in lines)
    return {line["figure"]: line for line in lines}


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
