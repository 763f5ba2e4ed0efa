"""`build/test`: everything that must hold before a change is kept, in the order of what fails fastest."""

import os
import subprocess
import sys
import time
from pathlib import Path

from build import machine

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent  # of the virtual environment

CHECKS = {
    "lint": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "types": ["mypy"],
    "layers": ["lint-imports"],
}
SCHEDULES = "tests/sim/test_schedules.py::test_a_thousand_schedules"  # busies every processor: before the lanes, not beside
TESTS = ["pytest", "-q", "--durations=10"]
LANES = ["-n", str((os.cpu_count() or 1) + 1), "--no-loadscope-reorder"]  # tests wait often: one lane more than processors


def run(name: str, argv: list[str]) -> bool:
    """One stage: its output as it comes, then how long it took. True when it passed."""
    print(f"== {name}: {' '.join(argv)}", flush=True)
    began = time.monotonic()
    passed = subprocess.run([BIN / argv[0], *argv[1:]], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0
    if name != "tests":  # pytest closes with its own time
        print(f"== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - began:.1f} s", flush=True)
    return passed


def prepare(*, strict: bool) -> bool:
    """Get what the tests need. False when something is missing that must not be."""
    if os.geteuid() == 0:
        machine.install(machine.missing())
    lacking = machine.missing()
    for package in lacking:
        print(f"missing: {package}: {'a failure, as CI=true' if strict else 'the tests that need it are skipped'}", flush=True)
    return not (strict and lacking)


def main(arguments: list[str]) -> int:
    """Run the suite in lanes (tests/lanes.py), or pytest alone on the files and options named. Returns the exit code."""
    machine.end_on_signals()
    strict = os.environ.get("CI") == "true"
    began = time.monotonic()
    failed = [] if prepare(strict=strict) else ["a missing piece"]
    with machine.dockerd(ROOT / ".work" / "dockerd.log"):
        print(f"== machine: ready in {time.monotonic() - began:.1f} s", flush=True)
        if not arguments:
            failed += [name for name, argv in CHECKS.items() if not run(name, argv)]
            failed += [] if run("schedules", ["pytest", "-q", SCHEDULES]) else ["schedules"]
        if not run("tests", [*TESTS, *(arguments or [*LANES, "--deselect", SCHEDULES])]):
            failed.append("tests")
    if failed and failed != ["tests"]:
        print(f"FAILED: {', '.join(failed)} (see above)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
