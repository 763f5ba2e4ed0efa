"""Which endpoint a connection tries first, and which next."""

from collections.abc import Iterable
from random import Random

from edged.mesh.table import Endpoint

AVOID_S = 10.0  # after a failed dial an endpoint comes last: about the time in which a crashed container is started again
MAX_AVOIDED = 4096  # endpoints remembered as failed; when full the one that failed first is forgotten


class Balancer:
    """Orders endpoints: those on `node` first, each group shuffled; those that failed lately last, the longest ago first.

    A failed endpoint is still offered, so a service whose pods all failed once is tried, not given up.
    """

    def __init__(self, node: str, random: Random) -> None:
        self._node, self._random = node, random
        self._failed: dict[Endpoint, float] = {}

    def order(self, endpoints: Iterable[Endpoint], now: float) -> list[Endpoint]:
        """All of `endpoints` in the order to try them, at the time `now` in seconds."""
        shuffled = list(endpoints)
        self._random.shuffle(shuffled)
        return sorted(shuffled, key=lambda endpoint: (self._avoided_since(endpoint, now), endpoint.node != self._node))

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """A dial of `endpoint` failed."""
        self._failed.pop(endpoint, None)
        if len(self._failed) >= MAX_AVOIDED:
            del self._failed[next(iter(self._failed))]
        self._failed[endpoint] = now

    def succeeded(self, endpoint: Endpoint) -> None:
        """A dial of `endpoint` succeeded: it is avoided no more."""
        self._failed.pop(endpoint, None)

    def _avoided_since(self, endpoint: Endpoint, now: float) -> float:
        since = self._failed.get(endpoint)
        return float("-inf") if since is None or now - since >= AVOID_S else since
