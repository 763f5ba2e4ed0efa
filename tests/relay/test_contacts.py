import itertools
from collections.abc import Iterable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edged.identity.certificates import EVERY, Subject
from edged.kit.ring import FULL, RINGS
from relay.contacts import CONTACTS, Contacts, News


def node(group: str, name: str, **fields: bool | tuple[str, ...]) -> Subject:
    return Subject("acme", "node", group, name)._replace(**fields)


class World:
    """Contacts, and what the nodes make of the news."""

    def __init__(self) -> None:
        self.contacts = Contacts()
        self.nodes: dict[int, Subject] = {}
        self.seen: dict[int, dict[int, Subject]] = {}
        self._sessions = itertools.count(1)

    def come(self, subject: Subject) -> int:
        session = next(self._sessions)
        self.nodes[session], self.seen[session] = subject, {}
        self._hear(self.contacts.come(session, subject))
        return session

    def go(self, session: int) -> None:
        self._hear(self.contacts.go(session))
        del self.nodes[session], self.seen[session]

    def _hear(self, news: Iterable[News]) -> None:
        for session, other, at, here in news:
            assert self.nodes[at] == other
            if here:
                assert at not in self.seen[session]
                self.seen[session][at] = other
            else:
                del self.seen[session][at]

    def oldest(self, group: str) -> set[int]:
        return set(sorted(at for at, one in self.nodes.items() if one.group == group and not one.limited)[:CONTACTS])


def pieces(world: World) -> int:
    """In how many pieces the groups are that have a node which passes on."""
    groups = {one.group for one in world.nodes.values() if not one.limited}
    met = {(world.nodes[a].group, b.group) for a, seen in world.seen.items() for b in seen.values()}
    count = 0
    while groups:
        count += 1
        reached, edge = set[str](), [groups.pop()]
        while edge:
            group = edge.pop()
            reached.add(group)
            edge += [b for a, b in met if a == group and b not in reached and b not in edge]
        groups -= reached
    return count


subjects = st.builds(
    node,
    st.integers(0, 14).map(lambda number: f"site-{number}"),
    st.just("gw"),
    limited=st.integers(0, 5).map(lambda chance: chance == 0),
    observes=st.one_of(st.just(()), st.just(()), st.just(("site-2", "site-7")), st.just((EVERY,))),
)


@given(st.lists(st.one_of(subjects, st.integers(0, 40)), max_size=80))
def test_whoever_comes_and_goes_the_groups_are_one_piece(events: list[Subject | int]) -> None:
    world = World()
    for event in events:
        if isinstance(event, Subject):
            world.come(event)
        elif event < len(world.nodes):
            world.go(sorted(world.nodes)[event])
        assert pieces(world) <= 1
        for session, seen in world.seen.items():
            assert all(world.contacts.met(session, at) and session in world.seen[at] for at in seen)
            contact = session in world.oldest(world.nodes[session].group)
            for at, other in seen.items():
                assert other.group != world.nodes[session].group
                observed = world.nodes[session].may_hold(other.group) or other.may_hold(world.nodes[session].group)
                assert observed or (contact and at in world.oldest(other.group))
            for group in {one.group for one in world.nodes.values()} - {world.nodes[session].group}:
                if world.nodes[session].may_hold(group):
                    assert world.oldest(group) <= set(seen)


def test_two_of_a_group_meet_two_of_another_and_the_next_takes_the_place_of_one_that_goes() -> None:
    world = World()
    a, b, c, limited = (world.come(node("one", name, limited=name == "d")) for name in ("a", "b", "c", "d"))
    x = world.come(node("two", "x"))
    assert set(world.seen[x]) == {a, b}
    assert not world.seen[c]
    assert not world.contacts.met(c, x)
    world.go(a)
    assert set(world.seen[x]) == {b, c}
    world.go(b)
    world.go(c)
    assert world.seen[x] == world.seen[limited] == {}
    assert world.contacts.go(c) == []


def test_an_observer_meets_the_contacts_of_what_it_observes_and_is_one_of_its_own_group() -> None:
    world = World()
    of = {group: [world.come(node(group, name)) for name in "abc"] for group in ("one", "two", "three")}
    carriers = [world.come(node("cloud", name)) for name in ("k", "l")]
    observer = world.come(node("cloud", "obs", observes=("one", "three")))
    assert set(world.seen[observer]) == {*of["one"][:2], *of["three"][:2]}
    everything = world.come(node("cloud", "all", observes=(EVERY,), limited=True))
    assert set(world.seen[everything]) == {at for group in of.values() for at in group[:2]}
    assert not world.contacts.met(observer, everything)
    late = world.come(node("four", "z"))
    assert set(world.seen[late]) == {everything, *carriers, *(at for group in of.values() for at in group[:2])}


def test_a_large_fleet_pays_little_for_who_comes_and_goes() -> None:
    """1,000 groups of 20 nodes: news and work go with a node's group and its neighbours, not with the fleet."""
    world, random = World(), Random(1)
    sessions = [world.come(node(f"site-{number % 1000}", f"gw-{number}")) for number in range(20_000)]
    most = CONTACTS * 2 * RINGS
    assert max(map(len, world.seen.values())) <= most
    assert sum(map(bool, world.seen.values())) == CONTACTS * 1000
    assert pieces(world) == 1
    counts: list[int] = []
    hear = world._hear

    def counted(news: Iterable[News]) -> None:
        counts.append(len(list(news)))
        hear(news)

    world._hear = counted  # type: ignore[method-assign]
    for session in random.sample(sessions, 2000):
        gone = world.nodes[session]
        world.go(session)
        world.come(gone)
    # Two partings and two meetings at each place where one contact follows another, each told at both ends.
    assert max(counts) <= 2 * 2 * most
    assert sum(counts) / len(counts) < 2 * most
    first = world.come(node("site-new", "gw"))
    assert counts[-1] <= 2 * (most + RINGS * CONTACTS * CONTACTS)
    world.go(first)


def test_few_groups_all_meet() -> None:
    world = World()
    for number in range(FULL):
        world.come(node(f"site-{number}", "gw"))
    assert {len(seen) for seen in world.seen.values()} == {FULL - 1}
