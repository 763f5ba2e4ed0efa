"""How much one node may fill of every other node's disk: its quota, over all the stores that it ever had. Pure.

A node refuses to make more objects than its own quota allows (QuotaError), so that an honest one never meets the refusal of
others. They take some more of it, for what it writes without being asked: statuses, and what is under way. Beyond that they
take what replaces or ends what they hold of it, and nothing in new places.
"""

from collections.abc import Mapping
from typing import NamedTuple

from edged.wire.sync import Register, home_of, node_of

OVERHEAD = 300  # bytes of a row beyond its value: names, signature, two index entries
LEAST = 64 << 20  # bytes that a node may always write: 20,000 objects


class Writer(NamedTuple):
    """A node, whichever its store and whatever the scope."""

    group: str
    node: str


class Used(NamedTuple):
    """What stands that a node wrote, tombstones too."""

    registers: int
    bytes: int


class Quota(NamedTuple):
    """What a node may write: registers, and bytes with OVERHEAD each."""

    registers: int = 200_000  # 100,000 objects with a status: a group of 100 nodes has some 20,000
    bytes: int = 512 << 20

    def of_disk(self, size: int) -> "Quota":
        """No node fills more than a quarter of a file system of this size, unless it is so small that LEAST is more."""
        return self._replace(bytes=min(self.bytes, max(size // 4, LEAST)))

    def reached(self, used: Used) -> bool:
        """Whether the node itself makes nothing new any more."""
        return used.registers >= self.registers or used.bytes >= self.bytes

    def refuses(self, used: Used, register: Register) -> bool:
        """Whether others refuse a register of it in a new place: a quarter beyond, or twice for the end of something."""
        quarters = 8 if register.value is None else 5
        return Quota(self.registers * quarters // 4, self.bytes * quarters // 4).reached(used)


QUOTA = Quota()
NOTHING = Used(0, 0)


def writer_of(origin: str) -> Writer:
    """Who writes under an origin."""
    return Writer(home_of(origin), node_of(origin))


class Usage:
    """What each node has written: what `base` says, and what a transaction changes of it."""

    def __init__(self, base: Mapping[Writer, Used]) -> None:
        self._base = base
        self.changes: dict[Writer, Used] = {}

    def of(self, writer: Writer) -> Used:
        """What stands of one node."""
        return self.changes.get(writer) or self._base.get(writer, NOTHING)

    def replace(self, before: Register | None, after: Register | None) -> None:
        """One register stands where another one did, or none."""
        for register, sign in ((before, -1), (after, 1)):
            if register is not None:
                writer = writer_of(register.origin)
                used, size = self.of(writer), len(register.value or b"") + OVERHEAD
                self.changes[writer] = Used(used.registers + sign, used.bytes + sign * size)
