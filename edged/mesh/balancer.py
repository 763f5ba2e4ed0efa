"""Which endpoint a connection tries first, and which next."""

import hashlib
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from edged.mesh.policy import BY_CHANCE, BY_HASH, BY_TURNS, USUAL, Policy
from edged.mesh.table import Endpoint

AVOID_S = 10.0  # after a failed dial an endpoint comes last: about the time in which a crashed container is started again
MAX_KNOWN = 4096  # endpoints, and services whose turns are counted; when full the one that was used first is forgotten
WEIGHT = 0.3  # of a new measure of latency: three in a row count for two thirds
FORGET_S = 10.0  # in which a latency that nobody measures again falls to a third: who was slow once gets another chance


@dataclass
class _Known:
    """What is known of an endpoint. `latency` is the seconds of a dial, as of `measured`."""

    pending: int = 0
    latency: float = 0.0
    measured: float = -math.inf
    failed: float = -math.inf


class Balancer:
    """Orders endpoints: those on `node` first, then those of the group, then others'; those that failed lately last.

    Among equals `policy` decides: the better of two drawn ones (fewer calls under way, quicker dials), chance, turns, or the
    highest weight of client and endpoint (rendezvous hashing: an endpoint that comes or goes moves nobody but its own
    clients). A failed endpoint is still offered, the longest ago first, so a service whose pods all failed is tried.
    """

    def __init__(self, node: str, random: Random) -> None:
        self._node, self._random = node, random
        self._known: dict[Endpoint, _Known] = {}
        self._turns: dict[Hashable, int] = {}

    def order(
        self, endpoints: Iterable[Endpoint], now: float, policy: Policy = USUAL, client: str = "", service: Hashable = None
    ) -> list[Endpoint]:
        """All of `endpoints` in the order to try them, at the time `now` in seconds.

        `client` is what BY_HASH knows a client by, `service` whose turns BY_TURNS counts.
        """
        ranked = self._ranked(sorted(endpoints), now, policy, client, service)
        return sorted(ranked, key=lambda endpoint: (self._avoided_since(endpoint, now), self._distance(endpoint)))

    def began(self, endpoint: Endpoint) -> None:
        """A call to `endpoint` is under way, from its dial on, until it `ended`."""
        self._note(endpoint).pending += 1

    def ended(self, endpoint: Endpoint) -> None:
        """A call is over."""
        known = self._note(endpoint)
        known.pending = max(0, known.pending - 1)  # it may have been forgotten meanwhile

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """A dial of `endpoint` failed."""
        self._note(endpoint).failed = now

    def succeeded(self, endpoint: Endpoint, took: float, now: float) -> None:
        """A dial of `endpoint` succeeded in `took` seconds: it is avoided no more."""
        known = self._note(endpoint)
        before = self._latency(known, now)
        known.latency = took if before == 0.0 else before + WEIGHT * (took - before)
        known.measured, known.failed = now, -math.inf

    def _ranked(
        self, endpoints: list[Endpoint], now: float, policy: Policy, client: str, service: Hashable
    ) -> Sequence[Endpoint]:
        if policy.kind == BY_HASH:
            return sorted(endpoints, key=lambda endpoint: _weight(client, endpoint), reverse=True)
        if policy.kind == BY_TURNS:
            return self._by_turns(endpoints, service)
        self._random.shuffle(endpoints)
        if policy.kind == BY_CHANCE:
            return endpoints
        return self._better_first(endpoints, now)

    def _by_turns(self, endpoints: list[Endpoint], service: Hashable) -> list[Endpoint]:
        turn = self._turns.pop(service, 0)
        if len(self._turns) >= MAX_KNOWN:
            del self._turns[next(iter(self._turns))]
        self._turns[service] = turn + 1
        groups: dict[int, list[Endpoint]] = {}
        for endpoint in endpoints:
            groups.setdefault(self._distance(endpoint), []).append(endpoint)
        return [each for group in groups.values() for each in _rotated(group, turn)]

    def _better_first(self, endpoints: list[Endpoint], now: float) -> list[Endpoint]:
        """Of each distance the better of the first two comes before the other."""
        first: dict[int, int] = {}
        for at, endpoint in enumerate(endpoints):
            distance = self._distance(endpoint)
            other = first.setdefault(distance, at)
            if other in (at, -1):
                continue
            if self._burden(endpoint, now) < self._burden(endpoints[other], now):
                endpoints[at], endpoints[other] = endpoints[other], endpoint
            first[distance] = -1
        return endpoints

    def _burden(self, endpoint: Endpoint, now: float) -> tuple[float, int]:
        known = self._known.get(endpoint)
        if known is None:
            return 0.0, 0
        return (known.pending + 1) * self._latency(known, now), known.pending

    def _latency(self, known: _Known, now: float) -> float:
        return known.latency * math.exp((known.measured - now) / FORGET_S) if known.latency else 0.0

    def _distance(self, endpoint: Endpoint) -> int:
        return 0 if endpoint.node == self._node else 2 if "/" in endpoint.node else 1

    def _avoided_since(self, endpoint: Endpoint, now: float) -> float:
        known = self._known.get(endpoint)
        return known.failed if known is not None and now - known.failed < AVOID_S else -math.inf

    def _note(self, endpoint: Endpoint) -> _Known:
        known = self._known.get(endpoint)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            known = self._known[endpoint] = _Known()
        return known


def _rotated(endpoints: list[Endpoint], turn: int) -> list[Endpoint]:
    at = turn % len(endpoints)
    return endpoints[at:] + endpoints[:at]


def _weight(client: str, endpoint: Endpoint) -> bytes:
    return hashlib.sha256(f"{client}\n{endpoint.node}/{endpoint.pod}:{endpoint.port}".encode()).digest()
