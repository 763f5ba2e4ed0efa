"""Processes by pid and start time, so that none is ever taken for another; and no orphan is lost."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

END_S = 5.0  # after SIGTERM, before SIGKILL
PR_SET_CHILD_SUBREAPER = 36


def started(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is none, or only what waits for its parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def owner() -> str:
    """Our name for good, `pid-start`: part of the names of what we make, so that others see whether its maker lives."""
    return f"{os.getpid()}-{started(os.getpid())}"


def gone(maker: str) -> bool:
    """Whether the program that called itself `maker` has ended."""
    pid, _, start = maker.partition("-")
    return started(int(pid)) != int(start)


def adopt_orphans() -> None:
    """From now on what our children leave behind when they end becomes our child, not that of process 1."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(roots: Sequence[int] | None = None) -> list[int]:
    """The children of `roots` (of us, if not given), their children and so on, that run."""
    found: list[int] = []
    waiting = [os.getpid()] if roots is None else list(roots)
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(pid) for pid in task.read_text().split()]
                waiting += children
                found += [pid for pid in children if started(pid)]
    return found


def named(text: str) -> list[int]:
    """The processes that have `text` in their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [int(path.parent.name)] if text.encode() in path.read_bytes() else []
    return found


def end(running: Callable[[], list[int]]) -> None:
    """End the processes that `running` lists, until it lists none: first politely, after END_S by force.

    What a stuck kernel keeps for END_S more is left to it.
    """
    began = time.monotonic()
    asked: set[int] = set()
    while (pids := running()) and time.monotonic() < began + 2 * END_S:
        late = time.monotonic() > began + END_S
        for pid in pids:
            if late or pid not in asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= set(pids)
        time.sleep(0.05)
