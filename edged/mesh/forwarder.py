"""Questions for others: from the cache, or asked once however many wait, or past their time while nobody answers."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from edged.mesh import message
from edged.mesh.cache import Cache, key_of
from edged.mesh.message import Query
from edged.mesh.resolvers import Resolvers

MAX_ASKED = 256  # questions under way, a descriptor each; one more is not answered unless from the cache
STALE_S = 1.8  # a client waits so long before it gets what is past its time (RFC 8767 5)


@dataclass
class ForwarderStatistics:
    """Counted since the start. `joined`: waited for a question that was under way."""

    cached: int = 0
    asked: int = 0
    joined: int = 0
    stale: int = 0
    unanswered: int = 0


class _Asked:
    """A question under way."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.response: bytes | None = None


class Forwarder:
    """Answers from the cache and from `resolvers`. `run` it: a question goes on when the client that asked first has left."""

    _nursery: trio.Nursery

    def __init__(self, resolvers: Resolvers, now: Callable[[], float] = trio.current_time) -> None:
        self._resolvers, self._now = resolvers, now
        self._cache = Cache()
        self._asked: dict[bytes, _Asked] = {}
        self.statistics = ForwarderStatistics()

    @property
    def gauges(self) -> dict[str, int]:
        """What is held now: responses and their bytes, and questions under way."""
        return {"cache_entries": len(self._cache), "cache_bytes": self._cache.bytes, "in_flight": len(self._asked)}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold what is asked until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._asked.clear()

    async def resolve(self, query: Query) -> bytes | None:
        """A whole response to `query`, checked by `message.survey`; None when nobody has one."""
        key, now = key_of(query), self._now()
        found = self._cache.get(key, now)
        if found is not None and found.fresh:
            self.statistics.cached += 1
            return found.response
        asked = self._under_way(key, query, now)
        if asked is not None:
            with trio.move_on_after(STALE_S if found else float("inf")):
                await asked.done.wait()
            if asked.response is not None and (found is None or _is_good(asked.response)):
                return asked.response
        if found is not None:
            self.statistics.stale += 1
            return found.response
        self.statistics.unanswered += 1
        return None

    def _under_way(self, key: bytes, query: Query, now: float) -> _Asked | None:
        """The question as it is being asked; None when it is not to be: it failed lately, or too many are under way."""
        if key in self._asked:
            self.statistics.joined += 1
            return self._asked[key]
        if self._cache.failed_lately(key, now) or len(self._asked) >= MAX_ASKED:
            return None
        asked = self._asked[key] = _Asked()
        self._nursery.start_soon(self._ask, key, query, asked)
        return asked

    async def _ask(self, key: bytes, query: Query, asked: _Asked) -> None:
        self.statistics.asked += 1
        try:
            response = await self._resolvers.ask(query)
            if response is not None and _is_good(response.data):
                self._cache.put(key, response.data, response.survey, self._now())
            else:
                self._cache.failed(key, self._now())
            asked.response = response.data if response else None
        finally:
            self._asked.pop(key, None)
            asked.done.set()


def _is_good(response: bytes) -> bool:
    """Whether a resolver knew: the others only say that they could not find out."""
    return response[3] & message.RCODE in (message.NOERROR, message.NXDOMAIN)
