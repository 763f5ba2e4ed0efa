"""`sync`: replication between real daemons on this machine, and what a group does when it loses a node."""

from collections.abc import Iterator

from tests.bench import failover, join, reach
from tests.bench.figures import Figure


def bench() -> Iterator[Figure]:
    """All figures of replication."""
    for part in (reach, join, failover):
        yield from part.bench()
