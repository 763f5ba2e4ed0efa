"""`kill -9` of a store at any moment: what was acknowledged is there, and each transaction whole or not at all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import apsw
import pytest

from tests.store.killed import ENDED, TASKS, halves, number
from tests.store.powercut import FILE, opened

ROOT = Path(__file__).parents[2]
FILES, ROUNDS = 2, 10  # each file is killed at, and goes on, so many times; tests/e2e/test_kill.py kills whole daemons
MOST_WRITES = 40  # that are acknowledged before a kill


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "tests.store.killed"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("seed", range(FILES))
async def test_kill_9_loses_nothing_that_was_acknowledged(forker: subprocess.Popen[str], tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    path = tmp_path / FILE
    acknowledged = dict.fromkeys(range(TASKS), 0)
    for _ in range(ROUNDS):
        killed_while_it_writes(forker, path, random, acknowledged)
        async with opened(path) as store:
            for task, last in acknowledged.items():
                left, right = (number(store, key) for key in halves(task))
                assert left == right
                assert last <= left <= last + 1  # a write that was under way may be there
                acknowledged[task] = left
            connection = apsw.Connection(str(path))
            assert connection.pragma("integrity_check") == "ok"
            connection.close()
    assert all(acknowledged.values())


def killed_while_it_writes(forker: subprocess.Popen[str], path: Path, random: Random, acknowledged: dict[int, int]) -> None:
    """One round: `acknowledged` is brought up to date."""
    assert forker.stdin is not None
    assert forker.stdout is not None
    print(path, file=forker.stdin, flush=True)
    pid = int(forker.stdout.readline())
    left = random.randint(0, MOST_WRITES)
    while True:
        if left == 0:
            time.sleep(random.random() * 0.005)  # any moment will do
            os.kill(pid, signal.SIGKILL)
        left -= 1
        line = forker.stdout.readline().strip()
        if line == ENDED:
            return
        task, last = map(int, line.split())
        acknowledged[task] = last
