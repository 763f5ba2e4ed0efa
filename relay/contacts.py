"""Which nodes of different groups are introduced to each other, so that all groups of a fleet are one piece. Pure.

The contacts of a group are the CONTACTS nodes of it that are connected longest; a limited node, which passes nothing on, is
none. The groups stand on rings (edged/kit/ring.py), and the contacts of neighbours there meet. An observer meets the
contacts of the groups that its certificate names. Whoever comes or goes, only the few whom it concerns are looked at again.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

from edged.identity.certificates import EVERY, Subject
from edged.kit.ring import Rings

CONTACTS = 2  # of a group: one may go, and its groups stay in one piece until another is found


class News(NamedTuple):
    """`session` is to hear that node `other`, connected in `at`, is within reach (`here`) or no more."""

    session: int
    other: Subject
    at: int
    here: bool


class Contacts:
    """The proved nodes of a relay, by sessions, of which the lower is the older. A change is answered with the news of it."""

    def __init__(self) -> None:
        self._nodes: dict[int, Subject] = {}
        self._carriers: dict[str, list[int]] = {}  # of each group, in order: those that are not limited
        self._rings = Rings()  # of the groups that have carriers
        self._observers: dict[str, set[int]] = {}  # by group, or EVERY
        self._met: dict[int, set[int]] = {}

    def met(self, session: int, other: int) -> bool:
        """Whether two nodes of different groups were introduced to each other."""
        return other in self._met.get(session, ())

    def come(self, session: int, node: Subject) -> list[News]:
        """A node connected."""
        self._nodes[session] = node
        for group in node.observes:
            self._observers.setdefault(group, set()).add(session)
        if node.limited:
            return self._introduce({session})
        before = self._contacts(node.group)
        insort(self._carriers.setdefault(node.group, []), session)
        changed = self._rings.add(node.group)
        return self._introduce({session, *(before ^ self._contacts(node.group)), *self._contacts(*changed)})

    def go(self, session: int) -> list[News]:
        """A node is connected no more; nothing happens when it was not."""
        node = self._nodes.get(session)
        if node is None:
            return []
        for group in node.observes:
            self._observers[group].discard(session)
            if not self._observers[group]:
                del self._observers[group]
        concerned = {session}
        if not node.limited:
            before, carriers = self._contacts(node.group), self._carriers[node.group]
            del carriers[bisect_left(carriers, session)]
            concerned |= before ^ self._contacts(node.group)
            if not carriers:
                del self._carriers[node.group]
                concerned |= self._contacts(*self._rings.remove(node.group))
        news = self._introduce(concerned, gone=session)
        del self._nodes[session]
        return news

    def _contacts(self, *groups: str) -> set[int]:
        return {session for group in groups for session in self._carriers.get(group, ())[:CONTACTS]}

    def _wanted(self, session: int) -> set[int]:
        """Whom a node is to have met."""
        node = self._nodes[session]
        wanted = self._contacts(*(self._carriers if EVERY in node.observes else node.observes))
        if session in self._contacts(node.group):
            wanted |= self._contacts(*self._rings.neighbours(node.group))
            wanted.update(self._observers.get(node.group, ()), self._observers.get(EVERY, ()))
        return {other for other in wanted if self._nodes[other].group != node.group}

    def _introduce(self, concerned: Iterable[int], gone: int | None = None) -> list[News]:
        """Let those whom a change concerns have met whom they are to have met: partings first, then meetings."""
        partings: list[News] = []
        meetings: list[News] = []
        for session in sorted(concerned):
            met = self._met.setdefault(session, set())
            wanted = self._wanted(session) if session != gone else set()
            for other in sorted(met - wanted):
                met.discard(other)
                self._met[other].discard(session)
                partings += self._both(session, other, here=False)
            for other in sorted(wanted - met):
                met.add(other)
                self._met.setdefault(other, set()).add(session)
                meetings += self._both(session, other, here=True)
            if not met:
                del self._met[session]
        return partings + meetings

    def _both(self, one: int, other: int, *, here: bool) -> list[News]:
        return [News(one, self._nodes[other], other, here), News(other, self._nodes[one], one, here)]
