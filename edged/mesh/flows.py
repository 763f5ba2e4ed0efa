"""Flows of datagrams that are remembered: so many, each until it was idle for so long. Pure.

A datagram has no connection, so nobody says when a flow ends; a client that uses a new port for each question (DNS) leaves
one behind with each.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_FLOWS = 1024  # of a node as a caller, and as a callee: a socket each, of the 65,536 that the unit allows
IDLE_S = 60.0  # no less than a NAT must remember a flow (RFC 4787 4.3 asks for 120 s, where a port is no matter)


class FlowTable(Generic[K, V]):
    """Flows by key, the one that was idle longest first. Who adds one beyond `limit` gets that one back, to be ended."""

    def __init__(self, limit: int = MAX_FLOWS, idle: float = IDLE_S) -> None:
        self._limit, self._idle = limit, idle
        self._flows: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._flows)

    def get(self, key: K, now: float) -> V | None:
        """The flow, which has carried a datagram at `now`."""
        found = self._flows.get(key)
        if found is None:
            return None
        self._flows[key] = found[0], now
        self._flows.move_to_end(key)
        return found[0]

    def idle(self, key: K, now: float) -> float:
        """The seconds since the flow carried a datagram; 0 when there is none."""
        found = self._flows.get(key)
        return 0.0 if found is None else now - found[1]

    def add(self, key: K, flow: V, now: float) -> V | None:
        """Remember a new flow; returns the one that had to go for it."""
        gone = self._flows.popitem(last=False)[1][0] if len(self._flows) >= self._limit else None
        self._flows[key] = flow, now
        return gone

    def pop(self, key: K) -> V | None:
        """Forget a flow."""
        found = self._flows.pop(key, None)
        return found[0] if found else None

    def expired(self, now: float) -> list[V]:
        """Forget those that were idle; returns them."""
        gone: list[V] = []
        while self._flows:
            key, (flow, last) = next(iter(self._flows.items()))
            if now - last < self._idle:
                break
            del self._flows[key]
            gone.append(flow)
        return gone

    def values(self) -> list[V]:
        """All flows."""
        return [flow for flow, _ in self._flows.values()]
