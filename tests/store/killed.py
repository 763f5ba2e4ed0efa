"""A process whose children are killed while they write: `python -m tests.store.killed`.

For each path on its input it forks a child that opens the store there and writes until it is killed. On its output: the
child's pid, a line for each acknowledged write ("task number"), and ENDED. It has imported everything already, so that a
child is at work within milliseconds.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from edged.kit.executor import Worker
from edged.model.objects import Key
from edged.store.store import Store
from edged.store.writes import Create, Put, Write
from tests.store.powercut import opened
from tests.store.tap import tapped

ENDED = "ended"
TASKS = 4  # that write at once
SIZES = (1, 300, 5000)  # bytes after the number of a write


def halves(task: int) -> tuple[Key, Key]:
    """The two objects that a task changes, always in one transaction."""
    return Key("widgets", "default", f"{task}-left"), Key("widgets", "default", f"{task}-right")


def number(store: Store, key: Key) -> int:
    """The number of the last write of an object; 0 when it is not there."""
    there = store.get(key)
    return 0 if there is None else int(there.body.rstrip(b"."))


def say(text: str) -> None:
    """One line, written at once: those of a parent and its child do not mix."""
    os.write(sys.stdout.fileno(), f"{text}\n".encode())


async def work(path: Path) -> None:
    """Write for ever, each write one more than the last, and say what was acknowledged."""
    async with opened(path, Worker()) as store, trio.open_nursery() as nursery:
        for task in range(TASKS):
            nursery.start_soon(_write, store, task)


async def _write(store: Store, task: int) -> None:
    make: Callable[[Key, bytes], Write]
    last = number(store, halves(task)[0])
    while True:
        last += 1
        body = str(last).encode() + b"." * SIZES[last % len(SIZES)]
        make = (lambda key, body: Create(key, "u", body)) if last == 1 else Put
        await store.write(*(make(key, body) for key in halves(task)))
        say(f"{task} {last}")


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            say(str(os.getpid()))
            with tapped(Path(), lambda _: None):  # for its short log: it is also killed while it copies it back
                trio.run(work, Path(line.strip()))
        os.waitpid(pid, 0)
        say(ENDED)


if __name__ == "__main__":
    main()
