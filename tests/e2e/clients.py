"""Clients of an API whose daemon is killed while they work: what each was told, and whether that is what is there after it."""

from random import Random
from threading import Event, Semaphore
from typing import Any, NamedTuple

from build.kube import Client

MAPS = "/api/v1/namespaces/default/configmaps"
MOST_OBJECTS = 6  # of each writer
SIZES = (1, 300, 5_000, 50_000)  # bytes beside the counter
PATIENCE_S = 60  # a bound, not an expectation: a busy machine is slow, not wrong


class Seen(NamedTuple):
    """An object as the API showed it."""

    count: int
    rv: int


def seen(obj: Any) -> Seen:
    return Seen(int(obj["data"]["count"]), int(obj["metadata"]["resourceVersion"]))


class Killed(Event):
    """Set just before the daemon is killed. Until then, no client may lose it."""

    def excuses(self, error: OSError) -> None:
        """A client has no answer: raises `error` unless the daemon is killed now."""
        if not self.wait(PATIENCE_S):
            raise error


class Writer:
    """Makes, changes and deletes ConfigMaps with a counter, one after the other; no name is used twice."""

    def __init__(self, name: str, random: Random) -> None:
        self._name, self._random = name, random
        self._count = 0
        self._under_way: tuple[str, int | None] | None = None  # a name, and the counter that it is to have; None: it is to go
        self.there: dict[str, Seen] = {}
        self.gone: set[str] = set()

    def work(self, client: Client, acknowledged: Semaphore, killed: Killed) -> None:
        """Write until the daemon is killed."""
        while not killed.is_set():
            try:
                self._write(client)
            except OSError as error:
                killed.excuses(error)
                return
            acknowledged.release()

    def _write(self, client: Client) -> None:
        self._count += 1
        what = self._random.choice(("make", "change", "change", "delete")) if self.there else "make"
        name = self._random.choice(list(self.there)) if self.there else ""
        data = {"count": str(self._count), "padding": "x" * self._random.choice(SIZES)}
        if what == "delete":
            self._under_way = name, None
            client.delete(f"{MAPS}/{name}")
            self._is_gone(name)
        elif what == "make" and len(self.there) < MOST_OBJECTS:
            name = f"{self._name}-{self._count}"
            self._under_way = name, self._count
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
            self.there[name] = seen(client.request("POST", MAPS, made))
        else:
            name = name or next(iter(self.there))
            self._under_way = name, self._count
            change = "application/merge-patch+json"
            self.there[name] = seen(client.request("PATCH", f"{MAPS}/{name}", {"data": data}, change))
        self._under_way = None

    def _is_gone(self, name: str) -> None:
        del self.there[name]
        self.gone.add(name)

    def check(self, found: dict[str, Seen]) -> None:
        """What was acknowledged is there, untouched; what was under way is there as a whole or not at all."""
        mine = {name: one for name, one in found.items() if name.startswith(f"{self._name}-")}
        if self._under_way is not None:
            name, count = self._under_way
            now = mine.get(name)
            if now is not None and now.count == count:
                self.there[name] = now
            elif now is None and count is None:
                self._is_gone(name)
            self._under_way = None
        assert mine == self.there


class Follower:
    """Watches from where it was: it sees every change once, in order, or is told 410 and lists again."""

    def __init__(self) -> None:
        self.since: int | None = None
        self.expired = 0
        self._began = 0  # this watch: with the changes after this version
        self._shown: dict[str, Seen | None] = {}  # by it, the last of each object; None: that it was deleted

    def work(self, client: Client, killed: Killed) -> None:
        """Watch until the daemon is killed."""
        while not killed.is_set():
            try:
                if self.since is None:
                    self.since = int(client.get(MAPS)["metadata"]["resourceVersion"])
                self._began = self.since
                self._shown.clear()
                self._watch(client)
            except OSError as error:
                killed.excuses(error)
                return

    def _watch(self, client: Client) -> None:
        for what, obj in client.watch(MAPS, PATIENCE_S, self.since):
            if what == "ERROR":
                assert obj["code"] == 410, obj
                self.expired += 1
                self.since = None
                return
            one = seen(obj)
            assert self.since is not None
            assert one.rv > self.since
            self.since = one.rv
            self._shown[obj["metadata"]["name"]] = None if what == "DELETED" else one

    def check(self, found: dict[str, Seen], gone: set[str]) -> None:
        """What it was shown is there or was changed later, and it was shown all that changed until then."""
        for name, one in self._shown.items():
            if name not in found:
                assert name in gone, f"{name} was shown, and is lost"
            else:
                assert one is not None, f"{name} was deleted, and is there again"
                assert one.rv <= found[name].rv, f"{name} is older than it was shown"
        for name, one in found.items():
            if self.since is not None and self._began < one.rv <= self.since:
                assert self._shown[name] == one
