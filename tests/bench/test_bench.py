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


def small(part: str, bench: str = "sync", **sizes: object) -> dict[str, dict[str, float]]:
    """A benchmark, or a part of one, with other constants."""
    return printed(program(part, **sizes), bench)


def program(part: str, **sizes: object) -> list[str | Path]:
    """A benchmark with other constants, as a program of its own: it ends every process that it leaves behind."""
    changes = "; ".join(f"{part}.{name} = {value!r}" for name, value in sizes.items())
    text = f"from tests.bench import {part}; {changes}; [print(figure.json()) for figure in {part}.bench()]"
    return [sys.executable, "-c", text]


def test_a_figure_is_one_json_line() -> None:
    line = json.loads(Figure("mesh", "stream_mb_s", 65.94321, "MB/s", 1842.4, "path lan").json())
    assert line == {
        "bench": "mesh", "figure": "stream_mb_s", "value": 65.94, "unit": "MB/s",
        "against": 1842.0, "ratio": 0.03579, "note": "path lan",
    }  # fmt: skip


@pytest.mark.root
@pytest.mark.tool("nft")
def test_start() -> None:
    assert 0 < figures("start")["ready_s"]["value"] < 30


@pytest.mark.root
@pytest.mark.tool("nft")
def test_mesh() -> None:
    sizes = {
        "ROUNDS": 1,
        "FEWER": 1,
        "STREAM": 5_000_000,
        "NEAR": 20_000_000,
        "DOWNLOAD": 100_000_000,
        "REQUESTS": 100,
        "SERVICES": 10,
    }
    names = {"dns.SERVICES": 5, "dns.QUESTIONS": 500, "dns.SECONDS": 0.2}
    times = {"CONNECT_S": 0.3, "SETTLE_S": 0.2, "CUT_AFTER_S": 0.2, "CUT_S": 4.0}
    found = small("mesh", bench="mesh", **sizes, **times, **names)
    assert set(found) >= {
        *("first_byte_s", "direct_s", "stream_direct_mb_s", "stream_direct_cpu_ms_per_mb", "rss_load_mb"),
        *("rtt_direct_added_p50_us", "rtt_direct_p99_us", "connects_per_s", "connects_16_per_s", "stream_300_services_mb_s"),
        *("local_ratio", "dns_p50_ms", "dns_p99_ms", "dns_qps", "cut_gap_s", "back_direct_s"),
        *("stream_relay_udp_mb_s", "stream_relay_udp_cpu_ms_per_mb", "stream_relay_ws_mb_s", "stream_relay_ws_cpu_ms_per_mb"),
    }
    assert all(line["value"] > 0 for name, line in found.items() if name != "rtt_direct_added_p50_us")


@pytest.mark.root
@pytest.mark.tool("nft")
def test_paths() -> None:
    sizes = (
        "paths.ROUNDS = 1; paths.PAIRS = (('open', 'easy'),); paths.DOWNLOAD_MB = 100; paths.CUT_S = 1.0; paths.LOSSY_MB = 2"
    )
    program = f"from tests.bench import paths; {sizes}; [print(figure.json()) for figure in paths.bench()]"
    found = printed([sys.executable, "-c", program], "paths")
    assert set(found) == {
        *("first_byte_open_easy_s", "direct_open_easy_s", "leave_s", "back_direct_s", "cut_gap_s", "loss_10_mb_s")
    }


def test_reach() -> None:
    found = small("reach", GROUPS=(3,), WRITES=6, WARM_UP=2, IDLE_S=0.2, CPU_S=0.2, CPU_NODES=3)
    assert set(found) == {"reach_3_p99_ms", "bytes_per_write", "idle_cpu_3_s_per_min"}
    assert found["bytes_per_write"]["value"] > 1000


def test_join() -> None:
    found = small("join", JOINED=300, CHANGES=300, API_WRITES=40, SETTLE_S=0.2)
    assert set(found) == {"join_10k_s", "join_10k_rss_mb", "merge_100k_s", "merge_100k_rss_mb", "api_writes_per_s"}


@pytest.mark.tool("mosquitto")
def test_device_bus() -> None:
    found = small("device_bus", bench="device", ONE_BY_ONE=50, WINDOWED=500, BURST=200)
    assert set(found) == {
        *("twin_w1_per_s", "twin_w1_p50_ms", "twin_w1_cpu_ms"),
        *("twin_w64_per_s", "twin_w64_p99_ms", "twin_w64_cpu_ms", "burst_answered"),
    }
    assert found["burst_answered"]["value"] == 200


def test_fuzz() -> None:
    found = printed(program("fuzz", INPUTS=100), "fuzz")
    assert {figure: line["value"] for figure, line in found.items()} == dict.fromkeys(
        ("dns_questions", "dns_responses", "socks", "pcp", "upnp", "mqtt"), 100
    )


@pytest.mark.tool("mosquitto")
def test_device_modbus() -> None:
    found = small("device_modbus", bench="device", METERS=2, SETTLE_S=0.2, MEASURE_S=2.0)
    assert set(found) == {
        *("none_cpu_pct", "rss_modbus_mb", "rss_modbus_50_mb", "modbus_cpu_pct", "modbus_late_p50_ms", "modbus_late_p99_ms"),
        *("modbus_age_p50_ms", "modbus_age_p99_ms", "modbus_reads_per_cycle", "modbus_drift"),
    }
    assert found["modbus_age_p50_ms"]["value"] > 0


@pytest.mark.tool("mosquitto")
def test_device_push() -> None:
    small_ = {"WAYS": ("hung_killed",), "UNITS": 3, "OUTAGE_S": 3.0, "STEADY_S": 1.0, "MESSAGES": 500}
    found = small("device_push", bench="device", **small_)
    assert found["offline_lost"]["value"] == 0
    assert {"outage_lost_hung_killed", "poll_gap_hung_killed_s", "drained_hung_killed_s", "offline_rss_mb"} <= set(found)
