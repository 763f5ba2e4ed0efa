"""A process whose children are daemons, one after the other: `python -m tests.e2e.forked SETTINGS`.

At a line on its input it forks one and says its pid; at the next line it waits for its end and says its exit code. So
long as nobody asked for that, the pid is no other process's, even if the daemon has ended.

A child is `edged run --config SETTINGS` from its first line on, but all modules are there already: a kill within its start
hits what it does with its files, which imports would bury, and 200 starts cost a quarter of the time.
"""

import ctypes
import os
import signal
import sys

import edged.__main__
import edged.daemon

PR_SET_PDEATHSIG = 1


def say(number: int) -> None:
    """One line, at once."""
    os.write(sys.stdout.fileno(), f"{number}\n".encode())


def main() -> None:
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            sys.exit(edged.__main__.main(["run", "--config", sys.argv[1]]))
        say(pid)
        sys.stdin.readline()
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
