"""The simulation finds what it is there to find: each fault that is planted is caught, by one of a few seeds."""

import os
import subprocess
import sys

import pytest

from .planted import FAULTS
from .run import ROOT


@pytest.fixture(scope="module")
def report() -> dict[str, str]:
    """What came of each fault, by a process of its own with a fixed hash seed, as a schedule is told by its seed."""
    command = [sys.executable, "-m", "tests.sim.planted"]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return dict(line.split(": ", 1) for line in told.stdout.splitlines())


@pytest.mark.parametrize("fault", [fault.what for fault in FAULTS])
def test_a_planted_fault_is_caught(fault: str, report: dict[str, str]) -> None:
    assert report[fault].startswith("caught by ")
    assert "AssertionError: " in report[fault], "and not by an error of the fault itself"
