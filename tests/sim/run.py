"""Runs schedules by their seeds: `python -m tests.sim.run FIRST COUNT`, in as many processes as there are processors.

Each worker is a process of its own with a fixed hash seed: a schedule that failed replays exactly, alone, by its number.
A line a failure on stdout, `seed N: what did not hold`, then `M schedules, K failed`; the exit code says whether any did.
"""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from .tales import schedule
from .world import play

ROOT = Path(__file__).resolve().parents[2]
WORD = 1000  # characters of what did not hold


def run(first: int, count: int, workers: int = 0) -> tuple[int, list[str]]:
    """How many schedules were run, and a line for each that failed."""
    workers = workers or len(os.sched_getaffinity(0))
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", __package__ + ".run", "worker", *map(str, range(first + number, first + count, workers))],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(workers)
    ]
    done, failed = 0, []
    try:
        for process in running:
            lines = process.communicate()[0].splitlines()
            done += sum(line.startswith("ok") for line in lines)
            failed += [line for line in lines if line.startswith("seed")]
            if process.returncode:
                failed.append(f"a worker ended with {process.returncode}")
    finally:
        for process in running:
            process.kill()
            process.wait()
    return done + len(failed), failed


def work(seeds: list[int]) -> None:
    """Run these one after the other."""
    for seed in seeds:
        size, ops = schedule(Random(seed))
        try:
            play(size, ops, seed)
        except Exception as error:  # whatever it is, it is told with its seed
            tell(f"seed {seed}: {first_of(error)}"[:WORD].replace("\n", " "))
        else:
            tell(f"ok {seed}")


def tell(line: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def first_of(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["worker"]:
        work([int(seed) for seed in arguments[1:]])
        return 0
    count, failed = run(int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1)
    tell("\n".join([*failed, f"{count} schedules, {len(failed)} failed"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
