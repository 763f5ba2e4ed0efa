"""`kill -9` of the daemon at any moment, 200 times: all that its API acknowledged is there, and no version is used twice."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Semaphore

import apsw
import pytest

from build.fleet import READY_S, ROOT, environment, temporary
from build.group import Group, OnLoopback
from edged.config import STORE
from tests.e2e.clients import MAPS, PATIENCE_S, Follower, Killed, Writer, seen

DAEMONS, ROUNDS = 4, 50  # side by side, and so many kills of each
WRITERS = 3  # of each daemon, at once
MOST_WRITES = 60  # that are acknowledged before a kill
START_S = 0.15  # a daemon that starts is killed within; it is ready after 0.1 s on a machine that has nothing else to do
STOP_S = 0.05  # the same of one that was asked to stop
LAST_LINES = 15


class Victim:
    """A daemon and its clients, killed again and again: when, and what they write, comes of the seed."""

    def __init__(self, group: Group, node: str, seed: int) -> None:
        self._group, self._node, self._client = group, node, group.local(node)
        self._random = Random(seed)
        self._writers = [Writer(f"w{number}", Random(seed * WRITERS + number)) for number in range(WRITERS)]
        self._follower = Follower()
        self._highest = 0  # version that anybody saw
        self._pid = 0

    def suffer(self) -> None:
        """All the rounds; then one start more, to look at what is there, and an end in peace."""
        moments = (self._kill_soon, self._kill_at_work, self._kill_at_work, self._kill_at_its_end)
        argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.e2e.forked", self._group.config(self._node)]
        pipe = subprocess.PIPE
        with (
            (self._group.folder / f"{self._node}.log").open("ab") as log,
            subprocess.Popen(
                argv, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=log, text=True, bufsize=1, env=environment()
            ) as self._forker,
        ):
            try:
                for _ in range(ROUNDS):
                    self._start()
                    self._random.choice(moments)()
                self._start()
                self._look()
                assert self._end(signal.SIGTERM) == 0
            finally:
                self._forker.kill()
        assert self._follower.expired > 0
        assert all(writer.gone for writer in self._writers)

    def _start(self) -> None:
        self._pid = self._ask()

    def _end(self, number: signal.Signals) -> int:
        os.kill(self._pid, number)
        return self._ask()

    def _ask(self) -> int:
        """What the forker says to one more line."""
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write("\n")
        return int(self._forker.stdout.readline())

    def _kill_soon(self) -> None:
        """While it starts."""
        time.sleep(self._random.random() * START_S)  # any moment will do, here and below
        assert self._end(signal.SIGKILL) == -signal.SIGKILL

    def _kill_at_work(self, *, stops: bool = False) -> None:
        """While it takes writes."""
        self._look()
        acknowledged, killed = Semaphore(0), Killed()
        with ThreadPoolExecutor(WRITERS + 1) as pool:
            working = [pool.submit(writer.work, self._client, acknowledged, killed) for writer in self._writers]
            working.append(pool.submit(self._follower.work, self._client, killed))
            try:
                for _ in range(self._random.randint(1, MOST_WRITES)):
                    assert acknowledged.acquire(timeout=PATIENCE_S)
                if stops:
                    os.kill(self._pid, signal.SIGTERM)
                time.sleep(self._random.random() * (STOP_S if stops else 0.005))
            finally:
                killed.set()
                assert self._end(signal.SIGKILL) in ({-signal.SIGKILL, 0} if stops else {-signal.SIGKILL})
        for each in working:
            each.result()

    def _kill_at_its_end(self) -> None:
        """While it stops as it was asked to, and takes the last writes."""
        self._kill_at_work(stops=True)

    def _look(self) -> None:
        """Wait until it answers, and compare what it shows with what its clients know."""
        self._group.wait(f"{self._node} to answer", lambda: self._client.get("/readyz"), READY_S, every=0.02)
        listed = self._client.get(MAPS)
        found = {obj["metadata"]["name"]: seen(obj) for obj in listed["items"]}
        for writer in self._writers:
            writer.check(found)
        self._follower.check(found, {name for writer in self._writers for name in writer.gone})
        version = int(listed["metadata"]["resourceVersion"])
        assert version >= max(self._highest, self._follower.since or 0, *(one.rv for one in found.values()), 0)
        self._highest = version
        status = self._client.get("/edged/v1/status")
        assert (status["damaged"], status["trouble"]) == (0, "")
        assert intact(self._group.folder / self._node / STORE)


def intact(path: Path) -> bool:
    """Whether SQLite finds no fault in a database, and the daemon found none for which it began a new one."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.pragma("integrity_check") == "ok" and not list(path.parent.glob(f"{path.name}.damaged*"))
    finally:
        connection.close()


@pytest.mark.tool("setpriv")
def test_kill_9_loses_nothing_that_was_acknowledged() -> None:
    with temporary("edged-kill") as folder, ThreadPoolExecutor(DAEMONS) as pool:
        group = Group(folder, OnLoopback(DAEMONS), peers=False)
        group.found(hub={"discovery": False})  # each is alone: a peer would give back what it lost
        suffering = {node: pool.submit(Victim(group, node, seed).suffer) for seed, node in enumerate(group.nodes)}
        for node, one in suffering.items():
            try:
                one.result()
            except BaseException:
                log = (folder / f"{node}.log").read_text(errors="replace")
                sys.stdout.write("\n".join([f"-- {node}:", *log.splitlines()[-LAST_LINES:], ""]))
                raise
