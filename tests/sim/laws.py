"""What must hold of a simulated group at all times, whatever happens to it. A breach raises AssertionError where it happens."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

import trio

from edged.control.failover import DEFAULT_TOLERATION_S

from .devices import homes
from .network import Network, Pair
from .node import LEASE_S, Happened, Node

LOOK_S = 1.0  # between two looks at what must hold
NOTICE_S = 12.0  # to notice a cut (IDLE_S) and link again
SETTLE_S = NOTICE_S + LEASE_S + 3.0  # after which a side that did not change has settled who leads
MOVE_S = SETTLE_S + 5.0  # and who runs what
STALE_S = LEASE_S * 1.5  # who is gone is seen at most so long: a lease after its last pulse, which others may have passed on
TOLD_S = 3.0  # by then all who are linked have heard of who leads, five steps away too
HEAR_S = 0.9 * LEASE_S  # a node that has started waits for so long to hear who leads, if nobody tells it sooner
LEAST_S = LEASE_S * 0.6 + DEFAULT_TOLERATION_S  # for which the others must miss a node, at the least, before its pods move
SHARE_S = LEASE_S + 5.0  # for which two nodes may serve one device after they met, at the most
SERVE_S = SETTLE_S + LEASE_S + DEFAULT_TOLERATION_S + 5.0  # after which a side that did not change serves what it may
AFTER_S = 30.0  # a peer that was refused, or could not be reached, is tried again within this


class Spans:
    """When something was so: from when to when."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def mark(self, now: float, *, on: bool) -> None:
        """It is so from now on, or no more."""
        if self._spans and self._spans[-1][1] == math.inf:
            if not on:
                self._spans[-1] = (self._spans[-1][0], now)
        elif on:
            self._spans.append((now, math.inf))

    def within(self, begin: float, end: float) -> bool:
        """Whether it was so at any time of these."""
        return any(since <= end and until >= begin for since, until in self._spans)

    def throughout(self, begin: float, end: float) -> bool:
        """Whether it was so at all of these times."""
        return any(since <= begin and until >= end for since, until in self._spans)

    def longest(self, begin: float, end: float) -> float:
        """For how long in a row it was so at the most, in a span that reaches into these times; its end is felt later."""
        lengths = (min(until + AFTER_S, end) - since for since, until in self._spans if until >= begin and since <= end)
        return max(lengths, default=0.0)


class Laws:
    """Is told by the world when the network, a clock or the set of running nodes changes, and by the nodes what happens."""

    def __init__(self, nodes: Mapping[str, Node], network: Network) -> None:
        self._nodes, self._network = nodes, network
        self.happened: list[Happened] = []
        self.touched: set[str] = set()  # Deployments that a person changed after they were made
        self._changed_at = 0.0
        self._apart: dict[str, Spans] = defaultdict(Spans)  # when a node could not see all others
        self._minority: dict[str, Spans] = defaultdict(Spans)  # when a majority could not see it
        self._outvoted: dict[str, Spans] = defaultdict(Spans)  # when it could not see a majority, whatever it believed
        self._unseen: dict[Pair, float] = defaultdict(float)  # until when two nodes could not see each other
        self._refused: dict[str, float] = defaultdict(lambda: -math.inf)  # until when a node's clock was wrong
        self._leads: dict[str, float] = {}  # since when
        self.served: dict[str, dict[str, float]] = defaultdict(dict)  # devices, by which nodes, since when

    @property
    def quiet(self) -> float:
        """For how many seconds nothing has changed."""
        return trio.current_time() - self._changed_at

    def mark(self) -> None:
        """The network, the running nodes or a clock is about to change, or has."""
        now = self._changed_at = trio.current_time()
        names = self._nodes.keys()
        right = {name for name in names if self._right(name)}
        self._refused |= {name: now for name in names - right if self._nodes[name].runs}
        sides = self._network.sides()
        for name in names:
            side = next((side for side in sides if name in side), frozenset[str]())
            seen = [other for other in right if name in right and not self._network.parted(name, other)]
            self._apart[name].mark(now, on=len(seen) < len(names))
            self._minority[name].mark(now, on=name not in right or 2 * len(side & right) < len(names) + 1)
            self._outvoted[name].mark(now, on=not _majority(side, names))
            for other in names - {name}:
                self._see(frozenset((name, other)), now, sees=other in seen)

    def _see(self, pair: Pair, now: float, *, sees: bool) -> None:
        if not sees:
            self._unseen[pair] = math.inf
        elif self._unseen[pair] == math.inf:
            self._unseen[pair] = now

    def _right(self, name: str) -> bool:
        """Whether a node runs, and all believe it. One that knows the others' clocks does not mind when its own goes back."""
        node = self._nodes[name]
        return node.runs and (abs(node.skew) < 1 or (node.skew < 0 and node.knows_better))

    # ---- what happens

    def note(self, happened: Happened) -> None:
        """Something happened on a node."""
        self.happened.append(happened)
        match happened.what:
            case "leads":
                self._taken(happened)
            case "yields":
                self._leads.pop(happened.node, None)
            case "replaces" | "moves":
                self._replaced(happened)
            case "connects":
                self.served[happened.thing][happened.node] = happened.at
            case "leaves":
                del self.served[happened.thing][happened.node]
            case "begins":
                self._begun(happened)
            case "ends":
                assert self._rightly_ended(happened), f"{happened.thing} was stopped on {happened.node}, where it ran rightly"

    def _taken(self, happened: Happened) -> None:
        """Who takes the group's lease cannot know of anybody who holds it."""
        name, now = happened.node, happened.at
        side = next((side for side in self._network.sides() if name in side), frozenset[str]())
        for other, since in self._leads.items():
            if other not in side or other == name or now - since < TOLD_S:
                continue
            assert not self._calm(name, other, now), f"{name} takes the lease that {other} holds since {now - since:.1f} s"
            started = self._nodes[name].started_at
            known = all(self._calm(other, third, now) for third in side - {name, other})
            heard = known and since < started - SETTLE_S and now - started < HEAR_S
            assert not heard, f"{name} takes the lease {now - started:.1f} s after its start, {other} holds it"
        self._leads[name] = now

    def _calm(self, one: str, other: str, now: float) -> bool:
        """Whether two nodes have seen each other for long."""
        return now - self._unseen[frozenset((one, other))] > SETTLE_S

    def _replaced(self, happened: Happened) -> None:
        """A leader puts another pod in the place of one whose node it has lost, or moves a device from there."""
        pods = {name for name, node in self._nodes.items() if happened.thing in node.containers.values()}
        hosts = pods | self.served[happened.thing].keys()
        missed = [self._apart[name].longest(happened.at - AFTER_S, happened.at) for name in hosts]
        assert max(missed, default=LEAST_S) >= LEAST_S, (
            f"{happened.node} replaces {happened.thing}, {missed} s after it was lost"
        )
        rule = _rule(happened.thing)
        assert rule != "never" or _deployment(happened.thing) in self.touched, f"{happened.node} replaces {happened.thing}"
        outvoted = rule == "quorum" and self._outvoted[happened.node].throughout(happened.at - STALE_S, happened.at)
        assert not outvoted, f"{happened.node} replaces {happened.thing}, and sees no majority"

    def _begun(self, happened: Happened) -> None:
        """A `never` pod is one pod for ever, unless somebody ends it."""
        if _rule(happened.thing) == "never" and _deployment(happened.thing) not in self.touched:
            uids = {each.uid for each in self.happened if each.thing == happened.thing and each.what == "begins"}
            assert len(uids) == 1, f"{happened.thing} begins anew on {happened.node}"
        if self.quiet > MOVE_S:
            for side in self._known_sides():
                self._runs_once(side)

    def _rightly_ended(self, happened: Happened) -> bool:
        """A person changed its Deployment; or its rule let others replace it, who missed its node for long enough; or it was
        made on one side of a split, or as the group formed, while others may have made it elsewhere."""
        if _deployment(happened.thing) in self.touched:
            return True
        began = max(each.at for each in self.happened if each[1:] == (happened.node, "begins", happened.uid, happened.thing))
        if began < SETTLE_S or self._apart[happened.node].within(began - SETTLE_S, began + 1):
            return True
        missed = {"quorum": self._minority, "always": self._apart}.get(_rule(happened.thing))
        return missed is not None and missed[happened.node].longest(began, happened.at) >= LEAST_S

    # ---- what is so

    async def look(self) -> None:
        """Who leads, who runs what, and who serves which device, again and again."""
        while True:
            await trio.sleep(LOOK_S)
            self._parts()
            for side in self._known_sides():
                if self.quiet > SETTLE_S:
                    leaders = [
                        name for name in side if (group := self._nodes[name].group) is not None and group.membership.leads
                    ]
                    assert len(leaders) == 1, f"{sorted(side)} have the leaders {leaders} after {self.quiet:.1f} s"
                if self.quiet > MOVE_S:
                    self._runs_once(side)
                if self.quiet > SERVE_S:
                    self._serves(side)

    def _known_sides(self) -> Iterable[frozenset[str]]:
        """Who sees each other. None while a node is refused for its clock: it is a side of its own, untold from outside."""
        known = all(self._right(name) or self._learnt(node) for name, node in self._nodes.items() if node.runs)
        return self._network.sides() if known else ()

    def _learnt(self, node: Node) -> bool:
        """Whether a node that began with a clock that is behind has heard by now that all others have another time."""
        return node.skew < 0 and min(self.quiet, trio.current_time() - node.started_at) > AFTER_S + SETTLE_S

    def _runs_once(self, side: frozenset[str]) -> None:
        where: dict[str, list[str]] = defaultdict(list)
        for name in side:
            for pod in self._nodes[name].containers.values():
                where[pod].append(name)
        for pod, names in where.items():
            assert len(names) == 1, f"{pod} runs on {sorted(names)}, which see each other"

    def _parts(self) -> None:
        """Two nodes that see each other do not go on to serve one device."""
        for device, nodes in self.served.items():
            for one, other in combinations(nodes, 2):
                heard = max(self._refused[one], self._refused[other]) + AFTER_S
                shared = trio.current_time() - max(nodes[one], nodes[other], self._unseen[frozenset((one, other))], heard)
                assert shared <= SHARE_S, f"{device} is served by {one} and {other}, which see each other, for {shared:.1f} s"

    def _serves(self, side: frozenset[str]) -> None:
        """One node of a side serves a device, unless its rule says that it waits for one that is not there."""
        store = self._nodes[min(side)].store
        assert store is not None
        for device, home in homes(store).items():
            moves = {"quorum": _majority(side, self._nodes), "always": True, "never": False}[_rule(device)]
            served = side & self.served[device].keys()
            assert len(served) == (home in side or moves), (
                f"{device} is at {home}, and of {sorted(side)} serve it {sorted(served)}"
            )


def _majority(side: frozenset[str], names: Iterable[str]) -> bool:
    """Whether a side is more than half of all, or exactly half with the first of them."""
    everybody = sorted(names)
    return 2 * len(side) > len(everybody) or (2 * len(side) == len(everybody) and everybody[0] in side)


def _rule(pod: str) -> str:
    return pod.partition("-")[0]


def _deployment(pod: str) -> str:
    return pod.rsplit("-", 2)[0]
