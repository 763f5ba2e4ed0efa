"""Which nodes of a group keep a link to each other: few enough for a hundred nodes, and never in two pieces. Pure.

A small group is linked fully. In a larger one each node is linked to its neighbours on rings (kit/ring.py): six links, and
five steps from end to end at a hundred nodes; who comes or goes changes few links of others. There are two such sets of
rings: of all nodes that are known, so that two sides of a split have neighbours across it who try to meet again, and of
those that are alive, so that a dead one leaves no gap.
"""

import hashlib
from collections.abc import Collection

from edged.kit.ring import FULL, Rings

LEAVES = 3  # links of a limited node, which passes nothing on


def neighbours(node: str, known: Collection[str], members: Collection[str], limited: Collection[str]) -> frozenset[str]:
    """The nodes to which `node` keeps a link. `known` and `members` (those alive) may or may not name itself.

    Both ends of a link come to the same answer when they know the same names.
    """
    everybody = frozenset(known) | frozenset(members) | {node}
    if len(everybody) <= FULL:
        return everybody - {node}
    chosen: set[str] = set()
    for names in (everybody, frozenset(members) | {node}):
        carriers = names - frozenset(limited)
        chosen |= Rings(carriers).neighbours(node)
        for leaf in names & frozenset(limited):
            stems = _stems(leaf, carriers)
            if node == leaf:
                chosen |= stems
            elif node in stems:
                chosen.add(leaf)
    return frozenset(chosen - {node})


def _stems(leaf: str, carriers: Collection[str]) -> set[str]:
    """The nodes that a limited one is linked to: those that a hash of both names prefers (Thaler and Ravishankar, 1998)."""
    return set(sorted(carriers, key=lambda name: _digest(f"{leaf} {name}"))[:LEAVES])


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
