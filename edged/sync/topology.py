"""Which nodes of a group keep a link to each other: few enough for a hundred nodes, and never in two pieces. Pure.

A small group is linked fully. In a larger one each node is linked to its neighbours on rings (kit/ring.py): six links, and
five steps from end to end at a hundred nodes; who comes or goes changes few links of others. There are two such sets of
rings: of those that are alive, so that a dead one leaves no gap, and of all that are known, so that two sides of a split have
neighbours across it who try to meet again.

Who is alive a node hears from its neighbours. When a split takes all six of them, it knows of nobody on its own side, and
they do not know of it. So on the rings of all a node wants everybody that it misses, up to the first that is alive: of two
pieces of one side, some node of each stands right behind, but for ones that are missed, one of the other.
"""

import hashlib
from collections.abc import Collection

from edged.kit.ring import FULL, Rings

LEAVES = 3  # links of a limited node, which passes nothing on


def neighbours(
    node: str, known: Collection[str], members: Collection[str], limited: Collection[str], missed: Collection[str] = ()
) -> frozenset[str]:
    """The nodes to which `node` keeps a link. `known` and `members` (those alive) may or may not name itself.

    Those that are `missed` are known, and no neighbour sees them, or it would have told by now.

    Both ends of a link come to the same answer when they know the same names, and miss the same.
    """
    everybody = frozenset(known) | frozenset(members) | {node}
    if len(everybody) <= FULL:
        return everybody - {node}
    chosen: set[str] = set()
    for names in (everybody, frozenset(members) | {node}):
        carriers = names - frozenset(limited)
        chosen |= Rings(carriers).neighbours(node, missed)
        for leaf in names & frozenset(limited):
            stems = _stems(leaf, carriers, missed)
            if node == leaf:
                chosen |= stems
            elif node in stems:
                chosen.add(leaf)
    return frozenset(chosen - {node})


def _stems(leaf: str, carriers: Collection[str], missed: Collection[str]) -> set[str]:
    """The nodes that a limited one is linked to: those that a hash of both names prefers (Thaler and Ravishankar, 1998).

    For each of them that is missed one more.
    """
    stems: set[str] = set()
    present = 0
    for name in sorted(carriers, key=lambda name: _digest(f"{leaf} {name}")):
        if present == LEAVES:
            break
        stems.add(name)
        present += name not in missed
    return stems


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
