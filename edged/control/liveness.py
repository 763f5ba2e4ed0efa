"""Which nodes are lost, and since when, by the steady clock of who leads: no jump of a wall clock ends anything. Pure.

            not a member                   its Node says so
    member --------------> away, `unseen` ------------------> `lost` since then
       ^                     ^                                  |
       |                     +--- its Node says otherwise: -----+
       +---- a member again       AGAIN_S of peace, since two may argue that do not see the same

A leader that starts anew begins to count anew.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

SETTLE_S = 10.0  # one lease: by then each node that is alive was heard by a leader that has just started
AGAIN_S = 40.0  # a node that contradicts is not called unknown again for this long (as node-monitor-grace-period)


class Sight(NamedTuple):
    """What a leader sees of the nodes that are no members.

    `unseen`: their Nodes are to say so now. `lost`: they do, and what ran there may be replaced, counted from that moment.
    `again`: when to look again although nothing changed.
    """

    unseen: frozenset[str]
    lost: Mapping[str, float]
    again: float


class _Away(NamedTuple):
    """A node that is no member: nothing is said of it before `peace`; it is lost `since`, None while nothing is said.

    `settled`: by then it had its chance to be heard.
    """

    peace: float
    settled: float = 0.0
    since: float | None = None


class Liveness:
    """Remembers who was heard, and, while this node leads, who is away. Times are of one steady clock, in seconds.

    A node that was never heard since the start is given `settle` seconds from when this node began to lead.
    """

    def __init__(self, settle: float = SETTLE_S) -> None:
        self._settle = settle
        self._heard: set[str] = set()
        self._away: dict[str, _Away] = {}
        self._leads_since: float | None = None

    def hear(self, members: Iterable[str]) -> None:
        """These are alive, whoever leads."""
        self._heard.update(members)

    def rest(self) -> None:
        """This node does not lead: others count."""
        self._away.clear()
        self._leads_since = None

    def told(self, names: Iterable[str], now: float) -> None:
        """The Nodes of these say now that they are not seen; if another has already said otherwise, that was its answer."""
        for name in names:
            self._away[name] = self._away[name]._replace(peace=now + AGAIN_S)

    def look(self, members: frozenset[str], said: Mapping[str, bool], now: float) -> Sight:
        """What this node, which leads, sees. `said`: for each node of the group, whether its Node says that it is not seen."""
        if self._leads_since is None:
            self._leads_since = now
        self.hear(members)
        self._heard &= said.keys() | members
        known, self._away = self._away, {}
        for name in said.keys() - members:
            settled = now if name in self._heard else max(now, self._leads_since + self._settle)
            before = known.get(name) or _Away(settled, settled)
            self._away[name] = _next(before, now, said=said[name])
        unseen = frozenset(name for name, away in self._away.items() if away.since is None and away.peace <= now)
        lost = {name: away.since for name, away in self._away.items() if away.since is not None and away.since <= now}
        due = [away.peace if away.since is None else away.since for away in self._away.values()]
        return Sight(unseen, lost, min((at for at in due if at > now), default=float("inf")))


def _next(away: _Away, now: float, *, said: bool) -> _Away:
    if not said:
        return away if away.since is None else _Away(now + AGAIN_S, away.settled)
    return away if away.since is not None else _Away(away.peace, away.settled, max(now, away.settled))
