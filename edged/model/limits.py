"""How much a value from outside may hold, so that checking it stays quick (a bad one is answered in under 100 ms)."""

from collections.abc import Iterable
from typing import Any

MAX_BODY = 3 * 1024 * 1024  # bytes of a request body: Kubernetes' own limit
MAX_DEPTH = 64  # maps and lists inside each other: twice what the deepest field of a pod needs
MAX_NODES = 50_000  # values in a body: as many as parse as YAML and are checked in 100 ms; a large pod has 1,000
MAX_REPLICAS = 10_000  # pods of one workload: a group of 100 nodes runs 110 each
MAX_CAUSES = 32  # things wrong that one answer lists: enough to repair a manifest


def measure(value: Any) -> tuple[int, int]:
    """(values in it, depth of maps and lists in it); it stops counting just past MAX_NODES or MAX_DEPTH."""
    nodes, depth = 1, 0
    level = [value] if isinstance(value, dict | list) else []
    while level and nodes <= MAX_NODES and depth <= MAX_DEPTH:
        nodes += sum(map(len, level))
        depth += 1
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
    return nodes, depth


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
